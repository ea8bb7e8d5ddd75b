"""Quality on delayed labels, and its estimate before they come."""
