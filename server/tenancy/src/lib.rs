//! Workspaces, logical clusters, exports, bindings: what a logical cluster serves and how it is born and dies.
