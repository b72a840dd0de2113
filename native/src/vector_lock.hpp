// Who reads or writes a network's flat vectors, while others may. A call of training reads them when it begins and
// writes them when it ends; predictions in other threads read them whenever they come, and see them whole.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace deltarule {

// Readers and writers in the order in which they come, so that neither starves the other.
class FairLock {
public:
    void lock_shared() {
        const std::lock_guard<std::mutex> next(turnstile_);
        lock_.lock_shared();
    }
    void unlock_shared() { lock_.unlock_shared(); }
    void lock() {
        const std::lock_guard<std::mutex> next(turnstile_);
        lock_.lock();
    }
    void unlock() { lock_.unlock(); }

private:
    std::mutex turnstile_;
    std::shared_mutex lock_;
};

// The lock of the network whose parameters lie there. (Two networks may share one.) A child of a fork finds it free.
FairLock& lock_of(const void* parameters);

}  // namespace deltarule
