//! The API server is away, forgets, or refuses.
