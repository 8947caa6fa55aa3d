from .conversation_check import VERSION, Checked, check, errors, examine, reward
