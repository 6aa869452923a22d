using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Edge.GlobalServices.Health;

/// <summary>Runs one check at a time over a socket of its own. Reused for check after check, so that a check takes no memory but the socket's: one event-args object, one
/// buffer. Tcp and http go through its callbacks without a task; https needs <see cref="SslStream"/>.</summary>
/// <remarks>The end is told once, on any thread; the slot is free again then. <see cref="Abort"/> (the time-out) may come from any thread at any time: it closes the socket,
/// which ends what waits on it.</remarks>
internal sealed class ProbeSlot : IDisposable
{
    private readonly SocketAsyncEventArgs _args = new();
    private readonly byte[] _buffer = new byte[HttpAnswer.BytesMax];
    private readonly Action<ProbeSlot, string?> _done;
    private readonly Lock _gate = new();
    private Socket? _socket;
    private CancellationTokenSource? _cancel;
    private HealthProbe _probe;
    private int _sent;
    private int _received;
    private int _length;
    private bool _isAborted;
    private bool _isBusy;

    /// <param name="done">The check ended; null for a success.</param>
    public ProbeSlot(Action<ProbeSlot, string?> done)
    {
        _done = done;
        _args.Completed += (_, _) => Continue();
    }

    /// <summary>The check that runs, or ran last.</summary>
    public HealthProbe Probe => _probe;

    /// <summary>When the check runs out of time, on the monitor's clock.</summary>
    public long DeadlineMs { get; private set; }

    public void Start(HealthProbe probe, long nowMs)
    {
        _probe = probe;
        DeadlineMs = nowMs + probe.Target.Check.TimeoutMs;
        (_sent, _received, _length) = (0, 0, 0);
        try
        {
            var address = Locations.Network.ToIPAddress(probe.Target.Address);
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            lock (_gate)
            {
                (_socket, _isAborted, _isBusy) = (socket, false, true);
            }

            _args.RemoteEndPoint = new IPEndPoint(address, probe.Target.Port);
            _args.SetBuffer(null, 0, 0);
            if (!socket.ConnectAsync(_args))
                Continue();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            End(e is SocketException failed ? Text(failed.SocketErrorCode) : "timed out");
        }
    }

    /// <summary>Ends the check of this number as timed out, if it still runs.</summary>
    public void Abort(long number)
    {
        lock (_gate)
        {
            if (!_isBusy || _probe.Number != number)
                return;
            _isAborted = true;
            _cancel?.Cancel();
            _socket?.Dispose();
        }
    }

    public void Dispose()
    {
        _socket?.Dispose();
        _args.Dispose();
    }

    // One step of the exchange has ended: begin the next, as far as they end at once.
    private void Continue()
    {
        try
        {
            while (Step())
            {
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            End(e is SocketException failed ? Text(failed.SocketErrorCode) : "timed out");
        }
    }

    // True when the next step has already ended.
    private bool Step()
    {
        if (_args.SocketError != SocketError.Success)
            return End(Text(_args.SocketError));
        var (socket, check) = (_socket!, _probe.Target.Check);
        switch (_args.LastOperation)
        {
            case SocketAsyncOperation.Connect when check.Kind == CheckKind.Tcp:
                return End(null);
            case SocketAsyncOperation.Connect when check.Kind == CheckKind.Https:
                _ = SecureAsync(socket); // ends in End
                return false;
            case SocketAsyncOperation.Connect:
                var request = HttpAnswer.Request(check, HostOf(check));
                request.CopyTo(_buffer, 0);
                _length = request.Length;
                _args.SetBuffer(_buffer, 0, _length);
                return !socket.SendAsync(_args);
            case SocketAsyncOperation.Send:
                _sent += _args.BytesTransferred;
                if (_sent < _length)
                {
                    _args.SetBuffer(_buffer, _sent, _length - _sent);
                    return !socket.SendAsync(_args);
                }

                _args.SetBuffer(_buffer, 0, _buffer.Length);
                return !socket.ReceiveAsync(_args);
            default:
                _received += _args.BytesTransferred;
                if (HttpAnswer.TryJudge(_buffer.AsSpan(0, _received), _args.BytesTransferred == 0 || _received == _buffer.Length, check, out var error))
                    return End(error);
                _args.SetBuffer(_buffer, _received, _buffer.Length - _received);
                return !socket.ReceiveAsync(_args);
        }
    }

    private async Task SecureAsync(Socket socket)
    {
        var check = _probe.Target.Check;
        var error = "timed out";
        try
        {
            using var cancel = new CancellationTokenSource();
            lock (_gate)
            {
                _cancel = cancel;
                if (_isAborted)
                    cancel.Cancel();
            }

            var name = check.ServerName.Length > 0 ? check.ServerName : check.Host.Length > 0 ? check.Host.Split(':')[0] : Locations.Network.ToIPAddress(_probe.Target.Address).ToString();
            var stream = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: false);
            await using (stream)
            {
                var options = new SslClientAuthenticationOptions { TargetHost = name };
                // Whether the endpoint serves is the question; who it is, only where that is asked for.
                if (!check.IsVerified)
                    options.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null;
                await stream.AuthenticateAsClientAsync(options, cancel.Token);
                await stream.WriteAsync(HttpAnswer.Request(check, HostOf(check)), cancel.Token);
                while (true)
                {
                    var read = await stream.ReadAsync(_buffer.AsMemory(_received), cancel.Token);
                    _received += read;
                    if (HttpAnswer.TryJudge(_buffer.AsSpan(0, _received), read == 0 || _received == _buffer.Length, check, out error!))
                        break;
                }
            }
        }
        catch (AuthenticationException e)
        {
            error = $"TLS: {e.Message}";
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            error = _isAborted ? "timed out" : e.InnerException is SocketException inner ? Text(inner.SocketErrorCode) : e.Message;
        }
        finally
        {
            lock (_gate)
            {
                _cancel = null;
            }
        }

        End(error);
    }

    private bool End(string? error)
    {
        lock (_gate)
        {
            if (_isAborted)
                error = $"timed out after {_probe.Target.Check.TimeoutMs} ms";
            _isBusy = false;
            _socket?.Dispose();
            _socket = null;
        }

        _done(this, error);
        return false;
    }

    private string HostOf(HealthCheckSpec check)
    {
        if (check.Host.Length > 0)
            return check.Host;
        var address = Locations.Network.ToIPAddress(_probe.Target.Address);
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{address}]:{_probe.Target.Port}" : $"{address}:{_probe.Target.Port}";
    }

    private static string Text(SocketError error) => error switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.ConnectionReset => "connection reset",
        SocketError.HostUnreachable or SocketError.NetworkUnreachable => "no route to it",
        SocketError.TimedOut or SocketError.OperationAborted => "timed out",
        _ => error.ToString(),
    };
}
