"""Text: replies as models write them, what people may read, what may not be trained on, boxes as text, encodings."""
