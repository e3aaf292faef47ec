//! Putting into a guest what the kernel is to run, once its exec is allowed.

use super::Shared;
use super::service::answer;
use super::spawn::FailClosed;
use crate::mechanism::notify::{Notification, Reply};
use crate::sys::Errno;
use crate::task::{ExecPlan, ExecState, Task};
use crate::vfs::{Image, OwnLoader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Answers an exec: by the program itself, or by an image of it.
pub(super) fn exec(
    shared: &Arc<Shared>,
    task: Arc<Task>,
    notification: Notification,
    program: OwnedFd,
    own_loader: Option<Box<OwnLoader>>,
    plan: Box<ExecPlan>,
) {
    let Some(own_loader) = own_loader else {
        return put(&task, notification, program.as_fd(), plan);
    };
    let vfs = shared.vfs();
    match vfs.kept_image(program.as_fd(), &own_loader) {
        Ok(Some(image)) => put_image(&task, notification, Ok(image), plan),
        Ok(None) if own_loader.is_large() => {
            let shared = Arc::clone(shared);
            // It takes as long as to read the file: the others needn't wait for that.
            let body = move || {
                let _guard = FailClosed;
                // One after the other: who is killed meanwhile needs none, and another may have made the same.
                let _one = shared.imaging.lock();
                if !notification.is_alive() {
                    return;
                }
                let vfs = shared.vfs();
                let image = match vfs.kept_image(program.as_fd(), &own_loader) {
                    Ok(Some(image)) => Ok(image),
                    Ok(None) => vfs.new_image(program.as_fd(), &own_loader),
                    Err(errno) => Err(errno),
                };
                put_image(&task, notification, image, plan);
            };
            // No thread to be had: the notification is dropped with the closure, which refuses the call.
            drop(std::thread::Builder::new().spawn(body));
        }
        Ok(None) => {
            let image = vfs.new_image(program.as_fd(), &own_loader);
            put_image(&task, notification, image, plan);
        }
        Err(errno) => answer(notification, &Reply::Errno(errno)),
    }
}

fn put_image(
    task: &Task,
    notification: Notification,
    image: Result<Arc<Image>, Errno>,
    mut plan: Box<ExecPlan>,
) {
    match image {
        Ok(image) => {
            plan.run_in_place(Arc::clone(&image));
            put(task, notification, image.as_fd(), plan);
        }
        Err(errno) => answer(notification, &Reply::Errno(errno)),
    }
}

fn put(task: &Task, notification: Notification, program: BorrowedFd<'_>, mut plan: Box<ExecPlan>) {
    match notification.inject(program) {
        Ok(slot) => {
            plan.slot = slot;
            *task.exec() = ExecState::Approved(plan);
            answer(notification, &Reply::Return(0));
        }
        Err(errno) => answer(notification, &Reply::Errno(errno)),
    }
}
