using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Edge.GlobalServices.Health;

/// <summary>One https check: connects, shakes hands, asks and judges within its time.</summary>
internal static class SecureProbe
{
    /// <returns>Never throws.</returns>
    public static async Task<ProbeResult> RunAsync(HealthProbe probe, TimeProvider time, CancellationToken cancellationToken)
    {
        var (target, check) = (probe.Target, probe.Target.Check);
        using var timeout = new CancellationTokenSource(TimeSpan.FromMilliseconds(check.TimeoutMs), time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            var address = Locations.Network.ToIPAddress(target.Address);
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(new IPEndPoint(address, target.Port), stop.Token);
            return new ProbeResult(probe, await AskAsync(socket, target, address, stop.Token));
        }
        catch (AuthenticationException e)
        {
            return new ProbeResult(probe, $"TLS: {e.Message}");
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            if (timeout.IsCancellationRequested || cancellationToken.IsCancellationRequested)
                return new ProbeResult(probe, $"timed out after {check.TimeoutMs} ms");
            var error = (e as SocketException ?? e.InnerException as SocketException)?.SocketErrorCode;
            return new ProbeResult(probe, error is { } code ? Text(code) : e.Message, WasAsked: error != SocketError.TooManyOpenSockets);
        }
    }

    private static async Task<string?> AskAsync(Socket socket, HealthTarget target, IPAddress address, CancellationToken cancellationToken)
    {
        var check = target.Check;
        var buffer = new byte[HttpAnswer.BytesMax];
        if (!HttpAnswer.TryWriteRequest(buffer, target, isLast: true, out var length))
            return $"the request is longer than {buffer.Length} bytes: make path or host shorter";
        await using var stream = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: false);
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = check.ServerName.Length > 0 ? check.ServerName : check.Host.Length > 0 ? check.Host.Split(':')[0] : address.ToString(),
        };
        // Whether the endpoint serves is the question; who it is, only where that is asked for.
        if (!check.IsVerified)
            options.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null;
        await stream.AuthenticateAsClientAsync(options, cancellationToken);
        await stream.WriteAsync(buffer.AsMemory(0, length), cancellationToken);
        for (var received = 0; ;)
        {
            var read = await stream.ReadAsync(buffer.AsMemory(received), cancellationToken);
            received += read;
            if (HttpAnswer.TryJudge(buffer.AsSpan(0, received), read == 0 || received == buffer.Length, check, out var error))
                return error;
        }
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
