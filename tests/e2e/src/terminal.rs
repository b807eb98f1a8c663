//! A terminal that a person sits at: tmux, on a server of its own.

use crate::Rota;
use anyhow::{Context as _, bail, ensure};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Nothing on a terminal of a test takes longer to appear.
const LONGEST: Duration = Duration::from_secs(60);

/// A command in a terminal. The terminal goes with it.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
    /// What is behind here was shown since the last time that something was waited for.
    seen: usize,
}

impl Terminal {
    /// Begin the binary in a terminal of 120 columns.
    ///
    /// # Errors
    /// When tmux is missing, which `scripts/setup` installs.
    pub async fn begin(rota: &Rota, program: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        // The server of the terminal before may still be on its way out.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = rota.path(&format!("tmux-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
        let mut line = String::from("exec env -i TERM=screen LANG=C.UTF-8");
        for (name, value) in rota.environment() {
            line.push_str(&format!(" {}", quoted(&format!("{}={}", name.display(), value.display()))));
        }
        line.push_str(&format!(" {}", quoted(program)));
        for argument in arguments {
            line.push_str(&format!(" {}", quoted(argument)));
        }
        // Its end is seen, with its status. A Ctrl-C reaches this shell as well: without a trap it would end when the command does, and the
        // terminal with it.
        let line = format!(
            "trap : INT; cd {} && ({}); echo \"ended: $?\"; exec sleep 1000",
            quoted(&rota.path("work").display().to_string()),
            line.replacen("exec ", "", 1)
        );
        let terminal = Self { socket, seen: 0 };
        terminal
            .tmux(&["-f", "/dev/null", "new-session", "-d", "-s", "it", "-x", "120", "-y", "40", "sh", "-c", &line])
            .await?;
        terminal.tmux(&["set-option", "-g", "history-limit", "20000"]).await?;
        Ok(terminal)
    }

    async fn tmux(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.socket).args(arguments).env_remove("TMUX");
        let output = command.output().await.context("tmux cannot be run; scripts/setup installs it")?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Type a text.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn types(&mut self, text: &str) -> anyhow::Result<()> {
        let before = self.shown().await?;
        self.seen = before.len();
        // A semicolon at the end would be tmux's own, between two of its commands, unless a backslash stands before it.
        let literal = text.strip_suffix(';').map(|rest| format!("{rest}\\;"));
        self.tmux(&["send-keys", "-t", "it", "-l", "--", literal.as_deref().unwrap_or(text)]).await?;
        // Until it is there: whoever waits for a prompt next must not see the one before.
        let began = Instant::now();
        while !text.is_empty() && self.shown().await? == before && began.elapsed() < LONGEST {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Press a key: `Enter`, `Tab`, `C-c`, `C-d`, `Up`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn presses(&mut self, key: &str) -> anyhow::Result<()> {
        self.tmux(&["send-keys", "-t", "it", key]).await.map(drop)
    }

    /// Send the command a signal: `TERM`, `INT`.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn signals(&self, signal: &str) -> anyhow::Result<()> {
        let shell = self.tmux(&["display-message", "-p", "-t", "it", "#{pane_pid}"]).await?;
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let child = children.split_whitespace().next().context("the command has ended")?;
        let status = Command::new("kill").args(["-s", signal, child]).status().await?;
        ensure!(status.success(), "kill -s {signal} {child}: {status}");
        Ok(())
    }

    /// Type a line.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn enters(&mut self, line: &str) -> anyhow::Result<()> {
        self.types(line).await?;
        self.presses("Enter").await
    }

    /// All that was shown, without the empty lines at its end.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn shown(&self) -> anyhow::Result<String> {
        let shown = self.tmux(&["capture-pane", "-p", "-J", "-S", "-", "-t", "it"]).await?;
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        Ok(lines.join("\n").trim_end().to_owned())
    }

    /// Wait until a text is shown behind what was there when something was last typed; answers what is behind.
    ///
    /// # Errors
    /// When it is not shown in a minute.
    pub async fn shows(&mut self, text: &str) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            let all = self.shown().await?;
            // The line that was typed is shown as well, and is none of the answer.
            let behind = all.get(self.seen.min(all.len())..).unwrap_or_default();
            let answer = behind.split_once('\n').map_or("", |(_, answer)| answer);
            if answer.contains(text) || (self.seen == 0 && all.contains(text)) {
                return Ok(answer.to_owned());
            }
            if began.elapsed() > LONGEST {
                bail!("the terminal does not show `{text}`:\n{all}");
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Wait until the last line that is shown ends with a text.
    ///
    /// # Errors
    /// When it does not in a minute.
    pub async fn waits_at(&self, text: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let all = self.shown().await?;
            if all.ends_with(text) {
                return Ok(());
            }
            if began.elapsed() > LONGEST {
                bail!("the terminal does not wait at `{text}`:\n{all}");
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = std::process::Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
