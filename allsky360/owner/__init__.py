"""The camera owner: one long-lived process per camera that captures and makes raw safe."""
