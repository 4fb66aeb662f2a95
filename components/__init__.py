"""What each stage of the pipeline does; knows neither Prefect nor Streamlit."""
