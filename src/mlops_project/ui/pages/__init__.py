"""One script per page; Streamlit runs them, each with its name as ``__main__``."""
