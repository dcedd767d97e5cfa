//! Field sets, server-side apply, JSON patch, merge patch, strategic merge patch.
