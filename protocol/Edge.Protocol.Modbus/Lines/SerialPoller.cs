using System.Runtime.InteropServices;

namespace Edge.Protocol.Modbus.Lines;

/// <summary>Wakes who waits for a serial line: one thread with epoll for all lines of the process, asleep while nothing comes.</summary>
internal sealed class SerialPoller
{
    private static readonly Lazy<SerialPoller> s_instance = new(() => new SerialPoller());

    // struct epoll_event is packed on x86-64 alone.
    private static readonly int s_dataOffset = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;
    private readonly Lock _gate = new();
    private readonly Dictionary<int, TaskCompletionSource> _waiting = [];
    private readonly int _epoll;

    private SerialPoller()
    {
        _epoll = SerialNative.EpollCreate(SerialNative.CloseOnExec);
        if (_epoll < 0)
            throw new IOException($"epoll_create1: {Marshal.GetLastPInvokeErrorMessage()}");
        new Thread(Run) { IsBackground = true, Name = "serial lines" }.Start();
    }

    public static SerialPoller Instance => s_instance.Value;

    /// <summary>Registers a line; nothing is awaited yet.</summary>
    public void Add(int fd) => Control(SerialNative.EpollAdd, fd, SerialNative.EpollOneShot);

    /// <summary>Ends the waiting on a line, which the caller closes then.</summary>
    public void Remove(int fd)
    {
        TaskCompletionSource? waiting;
        lock (_gate)
        {
            _waiting.Remove(fd, out waiting);
            Control(SerialNative.EpollDelete, fd, 0);
        }

        waiting?.TrySetException(new IOException("the serial line was closed"));
    }

    /// <summary>Completes when the line can be read (or written). One waits at a time on a line.</summary>
    public async ValueTask WaitAsync(int fd, bool write, CancellationToken cancellationToken)
    {
        var signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            _waiting[fd] = signal;
            Control(SerialNative.EpollModify, fd, (write ? SerialNative.EpollOut : SerialNative.EpollIn) | SerialNative.EpollOneShot);
        }

        await using var registration = cancellationToken.UnsafeRegister(static (state, token) => ((TaskCompletionSource)state!).TrySetCanceled(token), signal);
        await signal.Task;
    }

    private unsafe void Control(int operation, int fd, uint events)
    {
        var bytes = stackalloc byte[16];
        *(uint*)bytes = events;
        *(int*)(bytes + s_dataOffset) = fd;
        *(int*)(bytes + s_dataOffset + 4) = 0;
        if (SerialNative.EpollControl(_epoll, operation, fd, bytes) != 0)
            throw new IOException($"epoll_ctl: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    private unsafe void Run()
    {
        const int Batch = 32;
        var size = s_dataOffset + 8;
        var events = stackalloc byte[Batch * size];
        while (true)
        {
            var count = SerialNative.EpollWait(_epoll, events, Batch, -1);
            for (var i = 0; i < count; i++)
            {
                TaskCompletionSource? signal;
                lock (_gate)
                    _waiting.Remove(*(int*)(events + (i * size) + s_dataOffset), out signal);
                signal?.TrySetResult();
            }
        }
    }
}
