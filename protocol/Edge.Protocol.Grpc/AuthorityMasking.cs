using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Edge.Protocol.Grpc;

/// <summary>Puts an <see cref="AuthorityMask"/> between a socket and Kestrel.</summary>
internal static class AuthorityMasking
{
    public static void UseAuthorityMask(this ListenOptions listen) => listen.Use(next => connection => ServeAsync(next, connection));

    private static async Task ServeAsync(ConnectionDelegate next, ConnectionContext connection)
    {
        var socket = connection.Transport;
        var masked = new Pipe(new PipeOptions(readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));
        connection.Transport = new Duplex(masked.Reader, socket.Output);
        var pump = PumpAsync(socket.Input, masked.Writer);
        try
        {
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            await masked.Reader.CompleteAsync().ConfigureAwait(false);
            socket.Input.CancelPendingRead();
            await pump.ConfigureAwait(false);
            connection.Transport = socket;
        }
    }

    private static async Task PumpAsync(PipeReader from, PipeWriter to)
    {
        var mask = new AuthorityMask();
        Exception? broken = null;
        try
        {
            while (true)
            {
                var read = await from.ReadAsync().ConfigureAwait(false);
                if (read.IsCanceled)
                    break;
                from.AdvanceTo(mask.Feed(read.Buffer, to), read.Buffer.End);
                var flushed = await to.FlushAsync().ConfigureAwait(false);
                if (read.IsCompleted || flushed.IsCompleted)
                    break;
            }
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ConnectionAbortedException)
        {
            broken = e; // Kestrel is told, and ends the connection
        }

        await to.CompleteAsync(broken is null or IOException ? broken : new IOException(broken.Message, broken)).ConfigureAwait(false);
    }

    private sealed class Duplex(PipeReader input, PipeWriter output) : IDuplexPipe
    {
        public PipeReader Input => input;

        public PipeWriter Output => output;
    }
}
