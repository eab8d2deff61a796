//! API server and status page
