//! A small disk, to be filled.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::server::Folder;
use crate::tools::is_root;

/// A file system in memory of a few megabytes. It is unmounted when this is dropped, or the process ends.
#[derive(Debug)]
pub struct SmallDisk {
    folder: Folder,
}

impl SmallDisk {
    /// Mounts a disk of `megabytes` MiB that everybody may write to. None where mounting is not allowed
    /// (not root, or a container's root): the test then has to say that it skips.
    ///
    /// # Errors
    /// When no folder can be made for it.
    pub fn mount(megabytes: u32) -> anyhow::Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let folder = Folder::create("disk", None)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=1777"), "rota-small-disk"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        Ok(mounted.is_ok_and(|status| status.success()).then_some(Self { folder }))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The free space, in bytes.
    ///
    /// # Errors
    /// When the disk is gone.
    pub fn free(&self) -> anyhow::Result<u64> {
        let statistics = rustix::fs::statvfs(self.path())?;
        Ok(statistics.f_bavail * statistics.f_frsize)
    }

    /// Fills all but `left` bytes with one file, `filler`; removing that gives the space back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fill(&self, left: u64) -> anyhow::Result<()> {
        let file = std::fs::File::create(self.path().join("filler"))?;
        let size = self.free()?.saturating_sub(left);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)
            .context("the disk cannot be filled")?;
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.folder.kill();
        let _ = Command::new("umount").arg("-l").arg(self.path()).stderr(Stdio::null()).status();
    }
}
