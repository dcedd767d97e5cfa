//! Keeps the treaty when the line is cut: loops, local journal, back-pressure.
