"""Pictures and sound of a media file, on one timeline."""
