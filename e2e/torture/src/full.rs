//! A disk without room
