//! One memory of the present and the recent past, shared by all readers: objects, lists, watches.
