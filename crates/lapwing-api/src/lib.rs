//! JSON shapes of Lapwing's public surface
