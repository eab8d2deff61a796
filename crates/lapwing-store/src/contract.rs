//! The contract of both traits: the same random steps on the memory model and on the disk give the same answers,
//! with the disk opened again in between. Then what only a disk can suffer.

mod added;
mod history;
mod ledger;
mod trouble;

use std::path::Path;

use lapwing_core::time::Wall;

use crate::{DataDir, DiskHistory, DiskLedger};

fn open(dir: &Path) -> (DiskLedger, DiskHistory) {
    let dir = DataDir::open(dir, Wall(0)).unwrap();
    (dir.ledger().unwrap(), dir.history().unwrap())
}
