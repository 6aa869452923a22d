using System.Net;
using System.Net.Sockets;

namespace Edge.Chaos.Tests;

/// <summary>A TCP proxy on a port of its own, whose target may move, that on command cuts, delays, half-opens and corrupts. It knows nothing of what goes through.</summary>
/// <remarks>Commands are for the connections that are open at that moment; only the delay is for all, until it is taken back.</remarks>
internal sealed class FaultProxy : IAsyncDisposable
{
    private const int Backlog = 128;
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20);
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly CancellationTokenSource _stop = new();
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly Dictionary<ProxiedLink, Task> _links = [];
    private readonly Task _accepting;
    private int _target;
    private int _accepted;
    private long _delayTicks;
    private long _holdTicks;

    public FaultProxy(TimeProvider time)
    {
        _time = time;
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen(Backlog);
        Port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
        _accepting = AcceptAsync();
    }

    public int Port { get; }

    /// <summary>The port of loopback behind the proxy; 0 when nobody is there: see <see cref="Hold"/>.</summary>
    public int Target
    {
        get => Volatile.Read(ref _target);
        set => Volatile.Write(ref _target, value);
    }

    /// <summary>How long a connection that finds nobody behind the proxy waits for somebody, as at a load balancer, before it is closed. Zero: closed at once, as refused.</summary>
    public TimeSpan Hold
    {
        get => TimeSpan.FromTicks(Interlocked.Read(ref _holdTicks));
        set => Interlocked.Exchange(ref _holdTicks, value.Ticks);
    }

    /// <summary>Waits before passing on what was read, each time, each way.</summary>
    public TimeSpan Delay
    {
        get => TimeSpan.FromTicks(Interlocked.Read(ref _delayTicks));
        set => Interlocked.Exchange(ref _delayTicks, value.Ticks);
    }

    /// <summary>Connections taken since the start.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>The connections that are open now.</summary>
    public IReadOnlyList<ProxiedLink> Links
    {
        get
        {
            lock (_gate)
                return [.. _links.Keys];
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        Task[] running;
        lock (_gate)
            running = [.. _links.Values];
        await Task.WhenAll(running);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptAsync(_stop.Token);
                Interlocked.Increment(ref _accepted);
                Serve(near);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException && _stop.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    private void Serve(Socket near)
    {
        near.NoDelay = true;
        var link = new ProxiedLink(near, _time, () => Delay);
        lock (_gate)
            _links.Add(link, ServeAsync(link));
    }

    private async Task ServeAsync(ProxiedLink link)
    {
        await Task.Yield(); // it is listed before it can end
        var came = _time.GetTimestamp();
        try
        {
            while (Target == 0 && _time.GetElapsedTime(came) < Hold)
                await Task.Delay(s_look, _time, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // Disposed: it closes below.
        }

        await link.RunAsync(Target, _stop.Token);
        lock (_gate)
            _links.Remove(link);
    }
}
