"""The interfaces that a plugin implements, and the manager that collects the implementations."""
