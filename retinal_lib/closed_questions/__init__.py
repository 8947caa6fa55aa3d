"""Makes closed questions from the facts of images: of exams, and of conversations to train on."""
