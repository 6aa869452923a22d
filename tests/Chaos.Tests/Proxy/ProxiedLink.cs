using System.Net;
using System.Net.Sockets;

namespace Edge.Chaos.Tests;

/// <summary>A way through the proxy.</summary>
[Flags]
internal enum Direction
{
    None = 0,

    /// <summary>From the one that dialled to the target: edge to cloud.</summary>
    Up = 1,

    /// <summary>From the target to the one that dialled: cloud to edge.</summary>
    Down = 2,
    Both = Up | Down,
}

/// <summary>One connection through a <see cref="FaultProxy"/>, with the faults that were put on it.</summary>
internal sealed class ProxiedLink
{
    private const int BufferSize = 16 * 1024;
    private readonly Socket _near;
    private readonly Socket _far = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly TimeProvider _time;
    private readonly Func<TimeSpan> _delay;
    private readonly CancellationTokenSource _cut = new(); // has no timer, and may be cancelled after the end; so it is not disposed
    private readonly TaskCompletionSource<long> _nearClosed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<long> _farClosed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _silent;
    private int _corruptUp;
    private int _corruptDown;
    private long _bytesUp;
    private long _bytesDown;

    public ProxiedLink(Socket near, TimeProvider time, Func<TimeSpan> delay)
    {
        _near = near;
        _time = time;
        _delay = delay;
    }

    /// <summary>When the one that dialled closed its connection; a timestamp of the proxy's clock.</summary>
    public Task<long> NearClosed => _nearClosed.Task;

    /// <summary>When the target closed its connection.</summary>
    public Task<long> FarClosed => _farClosed.Task;

    /// <summary>Bytes that were passed on, each way.</summary>
    public (long Up, long Down) Bytes => (Interlocked.Read(ref _bytesUp), Interlocked.Read(ref _bytesDown));

    /// <summary>Connects to the target and passes on until both sides are closed, or it is cut; closes at once where the port is 0.</summary>
    public async Task RunAsync(int port, CancellationToken stopping)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(_cut.Token, stopping);
        using (_near)
        using (_far)
        {
            try
            {
                if (port == 0)
                    return;
                await _far.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), both.Token);
                // On loopback a dial to a port that nobody listens on may meet itself.
                if (_far.LocalEndPoint!.Equals(_far.RemoteEndPoint))
                    return;
                await Task.WhenAll(
                    PumpAsync(_near, _far, Direction.Up, _nearClosed, both.Token),
                    PumpAsync(_far, _near, Direction.Down, _farClosed, both.Token));
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // The target is not there, or this was cut: both sockets close below.
            }
            finally
            {
                _nearClosed.TrySetCanceled(CancellationToken.None);
                _farClosed.TrySetCanceled(CancellationToken.None);
            }
        }
    }

    /// <summary>Ends both connections.</summary>
    /// <param name="reset">With RST, as a router that lost its state; else with FIN.</param>
    public void Cut(bool reset)
    {
        if (reset)
        {
            foreach (var socket in (Socket[])[_near, _far])
            {
                try
                {
                    socket.LingerState = new LingerOption(true, 0);
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // It is closed already, which is what a cut is for.
                }
            }
        }

        _cut.Cancel();
    }

    /// <summary>From now on swallows what goes these ways, closes included, while both connections stay open.</summary>
    public void Silence(Direction ways) => Interlocked.Or(ref _silent, (int)ways);

    /// <summary>Flips one bit of the next bytes that go these ways.</summary>
    public void Corrupt(Direction ways)
    {
        if (ways.HasFlag(Direction.Up))
            Volatile.Write(ref _corruptUp, 1);
        if (ways.HasFlag(Direction.Down))
            Volatile.Write(ref _corruptDown, 1);
    }

    private bool IsSilent(Direction way) => (Volatile.Read(ref _silent) & (int)way) != 0;

    private async Task PumpAsync(Socket from, Socket to, Direction way, TaskCompletionSource<long> closed, CancellationToken cancellationToken)
    {
        var buffer = new byte[BufferSize];
        while (await ReadAsync(from, buffer, cancellationToken) is > 0 and var count)
        {
            if (_delay() is var delay && delay > TimeSpan.Zero)
                await Task.Delay(delay, _time, cancellationToken);
            if (IsSilent(way))
                continue;
            if (Interlocked.Exchange(ref way == Direction.Up ? ref _corruptUp : ref _corruptDown, 0) == 1)
                buffer[count / 2] ^= 0x10;
            try
            {
                await to.SendAsync(buffer.AsMemory(0, count), cancellationToken);
                Interlocked.Add(ref way == Direction.Up ? ref _bytesUp : ref _bytesDown, count);
            }
            catch (SocketException)
            {
                // The receiver is gone: the other pump sees that; here what comes is read and lost, as TCP would.
            }
        }

        closed.TrySetResult(_time.GetTimestamp());
        if (IsSilent(way))
            return;
        try
        {
            // Whole, not half: neither peer goes on with one way.
            to.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // It closed at the same moment.
        }
    }

    // 0 when the sender closed, orderly or not.
    private static async ValueTask<int> ReadAsync(Socket from, byte[] buffer, CancellationToken cancellationToken)
    {
        try
        {
            return await from.ReceiveAsync(buffer, cancellationToken);
        }
        catch (SocketException)
        {
            return 0;
        }
    }
}
