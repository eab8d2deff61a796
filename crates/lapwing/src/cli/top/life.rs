//! The life of `top`: keys, answers and the clock go into the model, and a frame comes out. A key never waits for the
//! daemon.

use std::{sync::Arc, time::Duration};

use crossterm::event::Event;
use lapwing_api::{client::Client, client::ClientError, steering::WishShape};
use lapwing_core::time::{Clock, Mono, Wall};
use lapwing_term::top::{Action, Model};
use nix::{
    sys::signal::{Signal as Kill, kill, raise},
    unistd::{Pid, getpgrp, getsid},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{
    feed::{Answer, Feed},
    screen::{self, Screen},
};
use crate::{
    cli::{Failure, report::zone, wish},
    clock::SystemClock,
    out,
};

/// What is taken in one turn.
const TURN: usize = 256;
/// Between two frames that nobody has asked for.
const FRAME: Duration = Duration::from_millis(50);

/// Shows it until somebody ends it.
pub(super) async fn live(client: Client, search: &str, author: Option<String>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let clock = SystemClock::new();
    let mut model = Model::new(zone(), out::paint(), clock.now().wall);
    model.search(search);
    let (feed, mut answers) = Feed::new(client);
    let mut top = Top {
        model,
        feed,
        screen: Screen::enter()?,
        clock: Arc::new(clock),
        author,
        drawn: Mono::default(),
        owes: false,
    };
    let mut keys = screen::keys()?;
    let (mut typed, mut come) = (Vec::with_capacity(TURN), Vec::with_capacity(TURN));
    // The size of the screen decides what is asked for.
    top.draw()?;
    loop {
        let waits = top.feed.ask(top.model.wants(), top.clock.mono());
        let rest = if waits || top.owes {
            FRAME
        } else {
            to_next_second(top.clock.now().wall)
        };
        tokio::select! {
            biased;
            order = signals.next() => match order {
                Order::Stop => return Ok(()),
                Order::Pause => top.suspend()?,
                Order::Back => top.screen.enter_again()?,
            },
            count = keys.recv_many(&mut typed, TURN) => {
                if count == 0 || top.typed(&mut typed)? {
                    return Ok(());
                }
                top.draw()?;
                continue;
            }
            _ = answers.recv_many(&mut come, TURN) => {
                top.take(&mut come);
            }
            () = sleep(rest) => {}
        }
        top.draw_soon()?;
    }
}

struct Top {
    model: Model,
    feed: Feed,
    screen: Screen,
    clock: Arc<dyn Clock>,
    /// Who asks, where the daemon would see another one.
    author: Option<String>,
    drawn: Mono,
    /// A frame is to be drawn soon.
    owes: bool,
}

impl Top {
    fn draw(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        (self.drawn, self.owes) = (now.mono, false);
        self.model.tick(now.wall);
        self.model.unanswered(self.feed.unanswered(now.mono));
        Ok(self.screen.draw(&mut self.model)?)
    }

    /// Draws what nobody has asked for, not too often.
    fn draw_soon(&mut self) -> Result<(), Failure> {
        self.owes = self.clock.mono().since(self.drawn) < FRAME;
        if self.owes { Ok(()) } else { self.draw() }
    }

    /// True when it is to end.
    fn typed(&mut self, typed: &mut Vec<Event>) -> Result<bool, Failure> {
        for event in typed.drain(..) {
            let action = match event {
                Event::Key(key) => self.model.key(key),
                Event::Mouse(mouse) => self.model.mouse(mouse),
                Event::Paste(text) => {
                    self.model.paste(&text);
                    None
                }
                _ => None,
            };
            match action {
                Some(Action::Quit) => return Ok(true),
                Some(action) => self.act(action)?,
                None => {}
            }
        }
        Ok(false)
    }

    fn act(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Quit => {}
            // As the terminal does it: all of this job.
            Action::Suspend => kill(Pid::from_raw(0), Kill::SIGTSTP).map_err(std::io::Error::from)?,
            Action::Redraw => self.screen.enter_again()?,
            Action::Check(series) => {
                self.model.say(&format!("checking {series} …"), false);
                self.feed.check(series);
            }
            Action::Wish {
                wish,
                series,
                until,
                reason,
            } => self.feed.wish(WishShape {
                wish,
                names: vec![series],
                by: self.author.clone(),
                reason,
                until: until.map(Wall::rfc3339),
                zone: until.and_then(|_| wish::zone_name()),
            }),
        }
        Ok(())
    }

    /// Gives the terminal back and stops, until somebody lets it go on and [`Order::Back`] comes.
    fn suspend(&mut self) -> Result<(), Failure> {
        // Who is in the job of the session's leader has no shell that could let it go on.
        if getsid(None).map_err(std::io::Error::from)? == getpgrp() {
            self.model.say("no shell here could go on with this later", true);
            return Ok(());
        }
        self.screen.lend();
        raise(Kill::SIGSTOP).map_err(std::io::Error::from)?;
        Ok(())
    }

    fn take(&mut self, come: &mut Vec<Answer>) {
        let now = self.clock.mono();
        for answer in come.drain(..) {
            self.feed.answered(&answer, now);
            match answer {
                Answer::Page(query, Ok(page)) => self.model.took_page(&query, page),
                Answer::Page(_, Err(ClientError::Refused { error, .. })) => {
                    self.model.say(&error.sentence(), true);
                }
                Answer::Page(_, Err(error)) => self.model.lose(brief(&error)),
                Answer::Tails(Ok(tails)) => self.model.took_tails(tails),
                Answer::Details(series, Ok(details)) => self.model.took_details(&series, *details),
                Answer::History(query, Ok(history)) => self.model.took_history(&query, history),
                // Either the list says it too, or what was asked for is not watched any more.
                Answer::Tails(Err(_)) | Answer::Details(_, Err(_)) | Answer::History(_, Err(_)) => {}
                Answer::Event(event) => {
                    self.model.event(*event);
                    self.feed.refresh_soon();
                }
                Answer::Said(text, is_bad) => {
                    self.model.say(&text, is_bad);
                    self.feed.refresh();
                }
            }
        }
    }
}

/// What fits beside "no daemon".
fn brief(error: &ClientError) -> String {
    match error {
        ClientError::NoDaemon { socket } => format!("nobody listens on {}", socket.display()),
        other => other.to_string(),
    }
}

fn to_next_second(now: Wall) -> Duration {
    Duration::from_micros((1_000_000 - now.0.rem_euclid(1_000_000)) as u64)
}

enum Order {
    Stop,
    /// The shell wants the terminal.
    Pause,
    /// The shell has given the terminal back.
    Back,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    pause: Signal,
    goes_on: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            pause: signal(SignalKind::from_raw(Kill::SIGTSTP as i32))?,
            goes_on: signal(SignalKind::from_raw(Kill::SIGCONT as i32))?,
        })
    }

    /// Waits for the next one. May be dropped and called again: none is lost.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Stop,
            _ = self.pause.recv() => Order::Pause,
            _ = self.goes_on.recv() => Order::Back,
        }
    }
}
