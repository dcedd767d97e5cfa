//! An object is bytes: look inside, change it, write it back.
