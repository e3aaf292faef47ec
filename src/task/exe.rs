//! What the kernel runs: the program, or an image in its place.

use super::ExecPlan;
use crate::vfs::Image;
use std::sync::Arc;

impl ExecPlan {
    /// The kernel is to run this image, and not the program itself.
    pub fn run_in_place(&mut self, image: Arc<Image>) {
        self.program = image.inode;
        if let Some(own) = self.mapped.as_mut().and_then(|all| all.first_mut()) {
            *own = image.mapped;
        }
        self.file_name.clear();
        self.image = Some(image);
    }
}

/// The program that a group runs.
#[derive(Clone, Debug, Default)]
pub struct Exe {
    /// As `/proc/PID/exe` showed it when it was executed.
    pub text: Vec<u8>,
    /// What the kernel runs in its place: as long as this is held, it is told from other memory files.
    pub image: Option<Arc<Image>>,
}
