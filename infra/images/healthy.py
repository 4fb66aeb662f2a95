"""Exit 0 if a URL answers with status 200, or the one that is given; the images have no curl."""

import sys
import urllib.error
import urllib.request

url, wanted = sys.argv[1], int((*sys.argv, 200)[2])
try:
    with urllib.request.urlopen(url, timeout=4) as answer:
        found = answer.status
except urllib.error.HTTPError as error:
    found = error.code
sys.exit(found != wanted)
