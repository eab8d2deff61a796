//! A terminal to type into and to read: a session of tmux with a shell in the folder of the test.

use std::process::Command;

use crate::kit::{Home, look};

/// It ends when this is dropped.
pub(crate) struct Terminal<'h> {
    home: &'h Home,
    socket: String,
}

impl<'h> Terminal<'h> {
    /// One of 20 lines, in which a shell runs `script` and then waits.
    pub(crate) fn open(home: &'h Home, columns: u16, script: &str) -> Self {
        let socket = home.path("tmux").display().to_string();
        let terminal = Self { home, socket };
        let columns = columns.to_string();
        let script = format!("{script}; exec cat");
        let session = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            "20",
            "sh",
            "-c",
            &script,
        ];
        terminal.tmux(&session);
        terminal
    }

    #[track_caller]
    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(args);
        let ran = command
            .current_dir(self.home.folder())
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .output()
            .expect("tmux is installed");
        assert!(ran.status.success(), "{args:?}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen, and all lines that have left it at the top.
    pub(crate) fn scrolled(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"])
    }

    /// Waits until the screen holds all of `texts` at once.
    #[track_caller]
    pub(crate) fn wait(&self, texts: &[&str]) -> String {
        let seen =
            look(|| Some(self.screen()).filter(|screen| texts.iter().all(|text| screen.contains(text))));
        seen.unwrap_or_else(|| panic!("not on the screen: {texts:?}\n{}", self.screen()))
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        drop(
            Command::new("tmux")
                .args(["-S", &self.socket, "kill-server"])
                .output(),
        );
    }
}
