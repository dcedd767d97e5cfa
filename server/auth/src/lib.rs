//! Who are you, and may you: certificates, tokens, service accounts, RBAC and kcp's stages.
