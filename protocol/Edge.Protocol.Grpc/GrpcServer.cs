using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Edge.Protocol.Grpc;

/// <summary>A gRPC server for unary methods, and ones that answer with a stream, on one unix socket.</summary>
/// <remarks>A handler's <see cref="GrpcException"/> is the caller's status. Any other exception of it is logged and becomes UNKNOWN; the
/// server goes on. The caller's <c>grpc-timeout</c> is kept: when it has passed, the handler's token is cancelled and the call ends with
/// DEADLINE_EXCEEDED.</remarks>
public sealed partial class GrpcServer : IAsyncDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode SocketMode = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    // The longest that a timer can be set to; a deadline beyond it is none.
    private static readonly TimeSpan s_deadlineMax = TimeSpan.FromMilliseconds(uint.MaxValue - 1);

    private readonly WebApplication _app;
    private readonly GrpcMethods _methods;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    private GrpcServer(WebApplication app, GrpcMethods methods, TimeProvider time, ILogger log)
    {
        _app = app;
        _methods = methods;
        _time = time;
        _log = log;
    }

    /// <summary>Listens on <paramref name="socketPath"/> (a stale socket file there is replaced) and serves until disposed. The file has
    /// mode 0660 and at no time more.</summary>
    /// <param name="time">Clock of the deadlines; the system's when absent.</param>
    public static async Task<GrpcServer> StartAsync(
        string socketPath, GrpcMethods methods, ILoggerFactory loggers, CancellationToken cancellationToken, TimeProvider? time = null)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseSockets(options =>
        {
            options.CreateBoundListenSocket = Bind;
            options.UnsafePreferInlineScheduling = true; // reading, unmasking and parsing go on where the socket's bytes came in; Kestrel gives each call a thread of its own after that
        }).ConfigureKestrel(options =>
        {
            options.Limits.MaxRequestBodySize = GrpcText.MessageSizeMax + GrpcText.PrefixSize;
            options.ListenUnixSocket(socketPath, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UseAuthorityMask();
            });
        });
        File.Delete(socketPath);
        var app = builder.Build();
        var server = new GrpcServer(app, methods, time ?? TimeProvider.System, loggers.CreateLogger("grpc"));
        app.Run(server.ServeAsync);
        try
        {
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync().ConfigureAwait(false);

    /// <summary>Binds a socket whose file nobody but the owner can use. Linux gives the file the socket's own mode less the umask, so a mode
    /// set before the bind holds from the first moment.</summary>
    internal static Socket BindPrivate(EndPoint endpoint)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            using (var handle = new SafeFileHandle(socket.Handle, ownsHandle: false))
                File.SetUnixFileMode(handle, OwnerOnly);
            socket.Bind(endpoint);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // The group is let in after the bind, as the umask may forbid it there; until the socket listens nobody can connect anyway.
    private static Socket Bind(EndPoint endpoint)
    {
        var socket = BindPrivate(endpoint);
        File.SetUnixFileMode(endpoint.ToString()!, SocketMode);
        return socket;
    }

    // Of one call: cancelled when its caller's deadline has passed, or by whoever sees that the caller has gone.
    private static CancellationTokenSource Limit(HttpRequest request, TimeProvider time)
    {
        if (request.Headers["grpc-timeout"].ToString() is not { Length: > 0 } text)
            return new CancellationTokenSource();
        if (!GrpcText.TryTimeout(text, out var deadline))
            throw new GrpcException(GrpcStatusCode.Internal, $"malformed grpc-timeout '{text}'; it is up to eight digits and one of H, M, S, m, u, n");
        return deadline > s_deadlineMax ? new CancellationTokenSource() : new CancellationTokenSource(deadline, time);
    }

    // What has come is taken out of the reader at once: a caller sends no more of a large message than the stream's window before that.
    private static async Task<ReadOnlyMemory<byte>> ReadAsync(PipeReader body, CancellationToken cancellationToken)
    {
        byte[]? message = null;
        var filled = 0;
        try
        {
            while (true)
            {
                var read = await body.ReadAsync(cancellationToken).ConfigureAwait(false);
                var rest = read.Buffer;
                if (message is null && rest.Length >= GrpcText.PrefixSize)
                {
                    message = new byte[LengthOf(rest)];
                    rest = rest.Slice(GrpcText.PrefixSize);
                }

                if (message is not null)
                {
                    var part = rest.Slice(0, Math.Min(rest.Length, message.Length - filled));
                    part.CopyTo(message.AsSpan(filled));
                    filled += (int)part.Length;
                    rest = rest.Slice(part.End);
                }

                body.AdvanceTo(rest.Start, rest.End);
                if (filled == message?.Length)
                    return message;
                if (read.IsCompleted)
                    throw new GrpcException(GrpcStatusCode.Internal, "the request ends inside a message");
            }
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"the request is over the limit of {GrpcText.MessageSizeMax} bytes", e);
        }
    }

    private static int LengthOf(ReadOnlySequence<byte> prefixed)
    {
        Span<byte> prefix = stackalloc byte[GrpcText.PrefixSize];
        prefixed.Slice(0, GrpcText.PrefixSize).CopyTo(prefix);
        if (prefix[0] != 0)
            throw new GrpcException(GrpcStatusCode.Unimplemented, "compressed requests are not supported");
        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        return length <= GrpcText.MessageSizeMax ? (int)length
            : throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"request of {length} bytes is over the limit of {GrpcText.MessageSizeMax}");
    }

    private async Task ServeAsync(HttpContext context)
    {
        context.Response.ContentType = "application/grpc";
        var path = context.Request.Path.Value ?? "";
        var answer = ReadOnlyMemory<byte>.Empty;
        var status = GrpcStatusCode.Ok;
        var detail = "";
        CancellationTokenSource? limit = null;
        try
        {
            limit = Limit(context.Request, _time);
            using var aborted = context.RequestAborted.UnsafeRegister(static limit => ((CancellationTokenSource)limit!).Cancel(), limit);
            if (_methods.FindStream(path) is { } stream)
                await StreamAsync(stream, context, limit.Token).ConfigureAwait(false);
            else
                answer = await AnswerAsync(path, context.Request.BodyReader, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // The outermost frame of a call: whatever it throws ends this call and no other.
            if (context.RequestAborted.IsCancellationRequested)
                return;
            (status, detail) = Translate(path, e, limit?.IsCancellationRequested == true);
        }
        finally
        {
            limit?.Dispose();
        }

        if (answer.Length > 0)
            await context.Response.Body.WriteAsync(answer, context.RequestAborted).ConfigureAwait(false);
        context.Response.AppendTrailer("grpc-status", ((int)status).ToString(CultureInfo.InvariantCulture));
        if (detail.Length > 0)
            context.Response.AppendTrailer("grpc-message", GrpcText.Escape(detail));
    }

    // A caller sees that he is connected before there is anything to say.
    private static async Task StreamAsync(GrpcStreamHandler handler, HttpContext context, CancellationToken cancellationToken)
    {
        var request = await ReadAsync(context.Request.BodyReader, cancellationToken).ConfigureAwait(false);
        await context.Response.StartAsync(cancellationToken).ConfigureAwait(false);
        await foreach (var message in handler(request, cancellationToken).ConfigureAwait(false))
        {
            await context.Response.Body.WriteAsync(Framed(message), cancellationToken).ConfigureAwait(false);
            await context.Response.Body.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    // The answer with its prefix.
    private async Task<ReadOnlyMemory<byte>> AnswerAsync(string path, PipeReader body, CancellationToken cancellationToken)
    {
        var handler = _methods.Find(path) ?? throw new GrpcException(GrpcStatusCode.Unimplemented, $"unknown method {path}");
        var answer = await handler(await ReadAsync(body, cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        return Framed(answer);
    }

    private static byte[] Framed(IMessage answer)
    {
        var size = answer.CalculateSize();
        if (size > GrpcText.MessageSizeMax)
            throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"answer of {size} bytes is over the limit of {GrpcText.MessageSizeMax}");
        var bytes = new byte[GrpcText.PrefixSize + size];
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(1), (uint)size);
        answer.WriteTo(bytes.AsSpan(GrpcText.PrefixSize));
        return bytes;
    }

    private (GrpcStatusCode Status, string Detail) Translate(string path, Exception e, bool late)
    {
        switch (e)
        {
            case GrpcException chosen:
                return (chosen.Code, chosen.Detail);
            case OperationCanceledException when late:
                return (GrpcStatusCode.DeadlineExceeded, $"{path}: the caller's deadline has passed");
            default:
                HandlerFailed(_log, path, e);
                return (GrpcStatusCode.Unknown, e.Message);
        }
    }

    [LoggerMessage(3300, LogLevel.Error, "{Path}: the handler failed; its caller gets UNKNOWN")]
    private static partial void HandlerFailed(ILogger logger, string path, Exception exception);
}
