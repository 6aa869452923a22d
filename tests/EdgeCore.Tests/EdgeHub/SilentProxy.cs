using System.Net;
using System.Net.Sockets;

namespace Edge.Core.Tests;

/// <summary>A TCP proxy that can go silent: bytes of one or both directions are swallowed, while both connections stay open, as with a peer that lost its network.</summary>
internal sealed class SilentProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly int _target;
    private readonly Task _accepting;
    private int _accepted;

    public SilentProxy(int target)
    {
        _target = target;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _accepting = AcceptAsync();
    }

    public int Port { get; }

    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Swallows what goes up, for connections that are there now.</summary>
    public void SilenceUp() => Volatile.Write(ref _silentUp, Accepted);

    /// <summary>Swallows what comes down, for connections that are there now.</summary>
    public void SilenceDown() => Volatile.Write(ref _silentDown, Accepted);

    private int _silentUp;
    private int _silentDown;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        var serving = new List<Task>();
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                serving.Add(ServeAsync(client, Interlocked.Increment(ref _accepted)));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(serving);
        }
    }

    private async Task ServeAsync(TcpClient client, int number)
    {
        using var near = client;
        using var far = new TcpClient();
        try
        {
            await far.ConnectAsync(IPAddress.Loopback, _target, _stop.Token);
            var up = PumpAsync(near.GetStream(), far.GetStream(), () => Volatile.Read(ref _silentUp) >= number);
            var down = PumpAsync(far.GetStream(), near.GetStream(), () => Volatile.Read(ref _silentDown) >= number);
            await Task.WhenAny(up, down);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // one side is gone
        }
    }

    private async Task PumpAsync(NetworkStream from, NetworkStream to, Func<bool> isSilent)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await from.ReadAsync(buffer, _stop.Token) is > 0 and var count)
            {
                if (!isSilent())
                    await to.WriteAsync(buffer.AsMemory(0, count), _stop.Token);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // one side is gone
        }
    }
}
