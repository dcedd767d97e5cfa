//! From request to answer, in order: routes, verbs, resources as data, discovery, subresources, virtual workspaces.
