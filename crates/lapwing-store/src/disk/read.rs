//! Reading connections, kept for the next reader. Each sees one moment of the file and holds up nobody.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rusqlite::Connection;

use super::file::{self, Schema};
use crate::StoreError;

/// Connections kept open while nobody reads.
const KEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    schema: &'static Schema,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path, schema: &'static Schema) -> Self {
        Self {
            path: path.to_owned(),
            schema,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs `read` with a connection. One that failed is not used again.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => file::open_reader(&self.path, self.schema)?,
        };
        let done = read(&mut connection)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        Ok(done)
    }
}
