-- The database `strata` (the catalog) is made by the image; these are the servers' own.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
