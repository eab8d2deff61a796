//! Notifiers, and proving one. Nothing that it says may hold a secret.

use std::sync::Arc;

use lapwing_api::{
    monitors::{NotifierShape, NotifiersShape},
    shapes::VERSION,
    steering::DoneShape,
};
use lapwing_core::{kind::nearest, observation::clean};
use lapwing_notify::Message as Letter;
use lapwing_web::steering::{Refusal, Why};

use super::{Faces, view::SPOKEN};
use crate::courier::Told;

pub fn list(told: &Told) -> NotifiersShape {
    let shape = |(name, built): (&String, &Arc<lapwing_notify::Built>)| NotifierShape {
        name: name.clone(),
        r#type: built.info.name.to_owned(),
    };
    NotifiersShape {
        v: VERSION,
        notifiers: told.notifiers.iter().map(shape).collect(),
    }
}

impl Faces {
    pub(super) async fn prove(&self, name: String) -> Result<DoneShape, Refusal> {
        let told = self.told();
        let Some(built) = told.notifiers.get(&name).map(Arc::clone) else {
            return Err(unknown(&told, &name));
        };
        // A trial passes the rate limit of the notifier, and goes on when whoever asked is gone.
        let place = Arc::clone(&self.trials).try_acquire_owned().map_err(|_| {
            Refusal::new(Why::Crowded, "as many notifiers are being tested as may at once")
                .hint("try again when those tests have ended")
        })?;
        let (letter, net) = (Letter::test(self.clock.now().wall), self.net.clone());
        // A notifier that ends by a defect takes nobody with it, and one that was begun is not broken off.
        let trial = tokio::spawn(async move {
            let _place = place;
            built.notifier.deliver(&letter, &net).await
        });
        let sent = trial.await.map_err(|_| {
            Refusal::new(
                Why::Unable,
                format!("{name}: the notifier ended by a defect of Lapwing"),
            )
        })?;
        match sent {
            Ok(receipt) => {
                let note = receipt.note.map_or_else(String::new, |note| format!(" ({note})"));
                Ok(DoneShape {
                    v: VERSION,
                    text: format!("{name}: delivered{note}"),
                    series: Vec::new(),
                })
            }
            Err(error) => {
                let text = format!("{name}: not delivered: {error} [{}]", error.code);
                Err(Refusal::new(Why::Unable, text))
            }
        }
    }
}

fn unknown(told: &Told, name: &str) -> Refusal {
    let names = || told.notifiers.keys().map(String::as_str);
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if told.notifiers.is_empty() => "the configuration has no [notify.NAME] table".to_owned(),
        None => format!("there is: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let name = clean(name, SPOKEN);
    Refusal::new(Why::Unknown, format!("there is no notifier \"{name}\"")).hint(hint)
}
