using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>HTTPS and plain HTTP on one port, as clients of KubeEdge's MetaServer and in-cluster clients expect it at the same address.</summary>
internal static class HttpsOrHttp
{
    // The first byte of a TLS connection (RFC 8446 §5.1, handshake); no method of HTTP begins so.
    private const byte Handshake = 0x16;

    // As Kestrel waits for a handshake.
    private static readonly TimeSpan s_firstByteWithin = TimeSpan.FromSeconds(10);

    /// <summary>Serves a connection that begins with a TLS handshake as HTTPS, and every other as plain HTTP.</summary>
    public static void UseHttpsOrHttp(this ListenOptions listen, X509Certificate2 certificate, TimeProvider time)
    {
        // Set when the pipeline is built, which goes from its end to its begin.
        ConnectionDelegate? http = null;
        listen.Use(https => async connection =>
        {
            if (await FirstByteAsync(connection, time) is { } first)
                await (first == Handshake ? https : http!)(connection);
        });
        listen.UseHttps(certificate);
        listen.Use(next => http = next);
    }

    // Null when none comes; it stays to be read.
    private static async Task<byte?> FirstByteAsync(ConnectionContext connection, TimeProvider time)
    {
        using var within = new CancellationTokenSource(s_firstByteWithin, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(within.Token, connection.ConnectionClosed);
        try
        {
            var read = await connection.Transport.Input.ReadAsync(either.Token);
            byte? first = read.Buffer.IsEmpty ? null : read.Buffer.FirstSpan[0];
            connection.Transport.Input.AdvanceTo(read.Buffer.Start);
            return first;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ConnectionResetException)
        {
            return null;
        }
    }
}
