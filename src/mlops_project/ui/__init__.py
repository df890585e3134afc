"""The Streamlit application: what people see of a model. It follows whatever model is loaded."""
