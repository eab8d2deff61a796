//! Records of what people ask us to leave out: pauses, silences, acknowledgements, and what is owed for them.

use lapwing_core::mute::{Mute, Mutes};
use serde::{Deserialize, Serialize};

use crate::{record::StoredWall, standing::OutageRecord};

/// Who asked, why, until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MuteRecord {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    since: StoredWall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<StoredWall>,
}

/// The wishes that hold for a series, within its standing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MutesRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<MuteRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silenced: Option<MuteRecord>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    owed_down: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owed_up: Option<OutageRecord>,
}

impl From<&Mute> for MuteRecord {
    fn from(it: &Mute) -> Self {
        Self {
            by: it.by.clone(),
            reason: it.reason.clone(),
            since: it.since.into(),
            until: it.until.map(Into::into),
        }
    }
}

impl From<MuteRecord> for Mute {
    fn from(it: MuteRecord) -> Self {
        Self {
            by: it.by,
            reason: it.reason,
            since: it.since.into(),
            until: it.until.map(Into::into),
        }
    }
}

impl From<&Mutes> for MutesRecord {
    fn from(it: &Mutes) -> Self {
        Self {
            paused: it.paused.as_ref().map(Into::into),
            silenced: it.silenced.as_ref().map(Into::into),
            owed_down: it.owed_down,
            owed_up: it.owed_up.as_ref().map(Into::into),
        }
    }
}

impl From<MutesRecord> for Mutes {
    fn from(it: MutesRecord) -> Self {
        Self {
            paused: it.paused.map(Into::into),
            silenced: it.silenced.map(Into::into),
            owed_down: it.owed_down,
            owed_up: it.owed_up.map(Into::into),
        }
    }
}
