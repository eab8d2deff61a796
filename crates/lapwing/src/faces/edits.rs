//! Add, edit, remove: what somebody asks for goes to the daemon, which alone changes what is watched.

use lapwing_api::monitors::EditedShape;
use lapwing_core::observation::clean;
use lapwing_web::steering::{Refusal, Why};
use tokio::sync::oneshot;

use super::{
    Faces, Order,
    wishes::{BY, user},
};
use crate::edits::{Edit, Wanted};

impl Faces {
    pub(super) async fn change(
        &self,
        wanted: Wanted,
        by: Option<String>,
        uid: Option<u32>,
    ) -> Result<EditedShape, Refusal> {
        let by = clean(by.unwrap_or_else(|| user(uid)).trim(), BY);
        let (reply, done) = oneshot::channel();
        let order = Order::Edit(Box::new(Edit { wanted, by }), reply);
        let sent = self.orders.send(order).await;
        sent.map_err(|_| Refusal::stopping())?;
        let done = done.await.map_err(|_| {
            let text = "the daemon is stopping: it is not known whether this was stored";
            Refusal::new(Why::Unable, text).hint("`lapwing list` shows it after the next start")
        })?;
        self.views.stale().await;
        done
    }
}
