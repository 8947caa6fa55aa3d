"""Pictures: image files opened, DICOM, figures in one style."""
