using System.Globalization;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>The way to the cloud: enrols, connects, reconnects, renews the certificate, and carries the queue and requests.</summary>
internal sealed class HubService : IHubLink
{
    private static readonly TimeSpan s_backoffFirst = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_stable = TimeSpan.FromSeconds(10);

    // How long a rotation waits for answers that are due before it ends the session.
    private static readonly TimeSpan s_drainMax = TimeSpan.FromSeconds(5);

    // Between questions whether it is the certificate that the cloud refuses, and between reminders that there is no token.
    private static readonly TimeSpan s_askAgain = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_remindAgain = TimeSpan.FromHours(1);
    private readonly EdgeCoreOptions _options;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly UplinkQueue _queue;
    private readonly PendingRequests _pending = new();
    private readonly NodeIdentity _identity;
    private readonly Pace _asking;
    private readonly Pace _reminding;
    private readonly Lock _gate = new();
    private Connection? _connection;
    private TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource? _rotation;
    private long _generation;
    private long _failedConnects;

    public HubService(EdgeCoreOptions options, SqliteDatabase database, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _options = options;
        _time = time;
        _random = random;
        _log = loggers.CreateLogger("EdgeHub");
        _queue = new UplinkQueue(new SqliteUplinkStore(database, time, _log), options.EdgeHub, time, _log);
        _identity = new NodeIdentity(options.EdgeHub, options.NodeName, time);
        _asking = new Pace(time, s_askAgain);
        _reminding = new Pace(time, s_remindAgain);
    }

    public event Action<UplinkRejection>? EntryRejected
    {
        add => _queue.Rejected += value;
        remove => _queue.Rejected -= value;
    }

    public bool IsConnected => _connection is not null;

    public bool IsEdgeWire => _connection is { Link.IsEdgeWire: true };

    public long Generation
    {
        get
        {
            lock (_gate)
                return _connection is null ? 0 : _generation;
        }
    }

    /// <summary>Called with the id of each stream that the cloud asks for; it must be quick. Set before <see cref="RunAsync"/>.</summary>
    public Action<string>? StreamAsked { get; set; }

    /// <summary>Called with each message of group <c>user</c>; it must be quick. Set before <see cref="RunAsync"/>.</summary>
    public Action<Message>? UserAsked { get; set; }

    /// <summary>Called with each message of group <c>taskmanager</c>; it must be quick. Set before <see cref="RunAsync"/>.</summary>
    public Action<Message>? TaskAsked { get; set; }

    /// <summary>Called with each part of a watch's answer of the cloud's dynamic controller; it must be quick. Set before <see cref="RunAsync"/>.</summary>
    public Action<Message>? ApplicationAnswered { get; set; }

    /// <summary>What the node shows who it is with; null before there is anything.</summary>
    public Credentials? Credentials { get; private set; }

    /// <summary>Connections made since the start.</summary>
    public long Connections => Interlocked.Read(ref _generation);

    public long FailedConnects => Interlocked.Read(ref _failedConnects);

    public int PendingCount => _pending.Count;

    public UplinkFigures Figures() => _queue.Figures();

    public event Action<bool>? LinkChanged;

    public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => _queue.PostAsync(entry, cancellationToken);

    public ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken) => _queue.PostAsync(entries, cancellationToken);

    public ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken) => _queue.TryPostAsync(entry, cancellationToken);

    public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => RequestAsync(request, timeout, acknowledge: true, cancellationToken);

    public Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => RequestAsync(request, timeout, acknowledge: false, cancellationToken);

    public async ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken)
    {
        if (_connection is not { } connection || connection.Session.Acknowledgement(answer) is not { } ok)
            return;
        try
        {
            await connection.Link.SendAsync(ok, cancellationToken);
        }
        catch (LinkException e)
        {
            HubLog.AckNotSent(_log, answer.Resource, e.Message);
        }
    }

    /// <summary>Sends a message once, where there is a link; what waits for it has its own time-out.</summary>
    public async ValueTask SendAsync(Message message, CancellationToken cancellationToken)
    {
        if (_connection is not { } connection)
            return;
        try
        {
            await connection.Link.SendAsync(message, cancellationToken);
        }
        catch (LinkException e)
        {
            HubLog.AckNotSent(_log, message.Resource, e.Message);
        }
    }

    public async Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task signal;
            lock (_gate)
            {
                if (_connection is not null && _generation > generation)
                    return _generation;
                signal = _connected.Task;
            }

            await signal.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Runs until cancelled. Network trouble never ends it.</summary>
    /// <exception cref="ConfigException">There is neither a certificate nor a usable token.</exception>
    public async Task RunAsync(IMetaMessages meta, ITwinMessages? twin, CancellationToken cancellationToken)
    {
        try
        {
            var credentials = await EnsureCredentialsAsync(cancellationToken);
            var dialer = new HubDialer(_options.EdgeHub, _options.NodeName, _time, _log);
            var backoff = new Backoff(_random, s_backoffFirst, s_backoffMax);
            while (true)
            {
                var (reason, server, renewed, looksRefused) = await ConnectOnceAsync(dialer, credentials, meta, twin, backoff, cancellationToken);
                cancellationToken.ThrowIfCancellationRequested();
                var wasConnected = server.Length > 0;
                renewed ??= wasConnected ? null : await MendAsync(credentials, looksRefused, cancellationToken);
                if (renewed is not null)
                {
                    credentials = renewed;
                    continue;
                }

                EndRotation(); // no new link yet: what waits for one is told so
                var delay = backoff.Next();
                if (wasConnected)
                    HubLog.LinkEnded(_log, server, reason, (long)delay.TotalMilliseconds);
                else
                    HubLog.ConnectFailed(_log, _options.EdgeHub.WebSocketEnable ? _options.EdgeHub.Server : dialer.Server, reason, (long)delay.TotalMilliseconds);
                await Task.Delay(delay, _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The program stops.
        }
        finally
        {
            EndRotation();
        }
    }

    // After a failed connection: a new identity or new trust when that is what it takes, else null.
    private async Task<Credentials?> MendAsync(Credentials present, bool looksRefused, CancellationToken cancellationToken)
    {
        var isExpired = IsExpired(present);
        if (!isExpired && !looksRefused && !present.ServerWasRefused)
            return null;
        // Many causes look alike from here, and the other end may be many nodes' only one.
        if (!_asking.IsDue())
            return null;
        try
        {
            if (present.ServerWasRefused)
                return await _identity.RefreshTrustAsync(present, cancellationToken);
            return await RenewOrEnrolAsync(present, cancellationToken);
        }
        catch (Exception e) when (e is EnrolmentException or CryptographicException or IOException or UnauthorizedAccessException)
        {
            HubLog.RenewFailed(_log, _options.EdgeHub.HttpServer, e.Message, (long)s_askAgain.TotalMilliseconds);
            return null;
        }
    }

    /// <summary>Renews with the present certificate; where the cloud cannot accept that one any more, enrols again with the token.</summary>
    /// <returns>Null when it takes a token and there is none; that is logged every hour.</returns>
    private async Task<Credentials?> RenewOrEnrolAsync(Credentials present, CancellationToken cancellationToken)
    {
        string problem;
        if (IsExpired(present))
        {
            problem = $"the certificate {_options.EdgeHub.CertificateFile} expired at {Text(present)}";
        }
        else
        {
            try
            {
                var renewed = await _identity.RenewAsync(present, cancellationToken);
                HubLog.Renewed(_log, Text(renewed));
                return renewed;
            }
            catch (EnrolmentException e) when (e.IsCertificateRefused)
            {
                problem = e.Message;
            }
        }

        if (_options.EdgeHub.Token.Length == 0)
        {
            if (_reminding.IsDue())
                HubLog.TokenNeeded(_log, problem);
            return null;
        }

        try
        {
            HubLog.IdentityUnusable(_log, problem);
            var enrolled = await _identity.EnrolAsync(problem, cancellationToken);
            HubLog.Enrolled(_log, _options.NodeName, _options.EdgeHub.CertificateFile, Text(enrolled));
            return enrolled;
        }
        catch (ConfigException e)
        {
            // At the start this ends the program; later, what runs goes on.
            if (_reminding.IsDue())
                HubLog.TokenUnusable(_log, problem, e.Message);
            return null;
        }
    }

    private bool IsExpired(Credentials credentials) => credentials.Certificate.NotAfter.ToUniversalTime() <= _time.GetUtcNow();

    private async Task<Credentials> EnsureCredentialsAsync(CancellationToken cancellationToken)
    {
        if (_identity.Load(out var problem) is { } present)
        {
            if (!IsExpired(present))
                return present;
            if (_options.EdgeHub.Token.Length == 0)
            {
                if (_reminding.IsDue())
                    HubLog.CertificateExpired(_log, _options.EdgeHub.CertificateFile, Text(present));
                return present;
            }

            problem = $"the certificate {_options.EdgeHub.CertificateFile} expired at {Text(present)}";
        }

        if (problem.Length > 0 && _options.EdgeHub.Token.Length > 0)
            HubLog.IdentityUnusable(_log, problem);
        var backoff = new Backoff(_random, s_backoffFirst, s_backoffMax);
        while (true)
        {
            try
            {
                var credentials = await _identity.EnrolAsync(problem, cancellationToken);
                HubLog.Enrolled(_log, _options.NodeName, _options.EdgeHub.CertificateFile, Text(credentials));
                return credentials;
            }
            catch (Exception e) when (e is EnrolmentException or CryptographicException or IOException or UnauthorizedAccessException)
            {
                var delay = backoff.Next();
                HubLog.EnrolFailed(_log, _options.EdgeHub.HttpServer, e.Message, (long)delay.TotalMilliseconds);
                await Task.Delay(delay, _time, cancellationToken);
            }
        }
    }

    // The server is empty when there was no connection.
    private async Task<(string Reason, string Server, Credentials? Renewed, bool LooksRefused)> ConnectOnceAsync(
        HubDialer dialer, Credentials credentials, IMetaMessages meta, ITwinMessages? twin, Backoff backoff, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var renewal = _options.EdgeHub.RotateCertificates ? RenewAsync(credentials, stop) : Task.FromResult<Credentials?>(null);
        var reason = "";
        var server = "";
        var looksRefused = false;
        try
        {
            Credentials = credentials;
            var dialed = await dialer.DialAsync(credentials, stop.Token);
            await using var link = dialed.Link;
            server = dialed.Server;
            var since = _time.GetTimestamp();
            var session = new HubSession(link, _queue, _pending, meta, twin, TimeSpan.FromSeconds(_options.EdgeHub.HeartbeatSeconds), _time, _log)
            {
                StreamAsked = StreamAsked, UserAsked = UserAsked, TaskAsked = TaskAsked, ApplicationAnswered = ApplicationAnswered, WantsServices = _options.EdgeDns.Enable,
            };
            reason = "the session broke";
            try
            {
                reason = await session.RunAsync(() => SetConnected(new Connection(link, session), server), stop.Token);
            }
            finally
            {
                SetDisconnected(reason);
            }

            if (link.ClosedBecause is { Length: > 0 } said)
                reason = $"CloudCore closed it: {said}";
            if (_time.GetElapsedTime(since) >= s_stable)
                backoff.Reset();
        }
        catch (LinkException e)
        {
            Interlocked.Increment(ref _failedConnects);
            reason = e.Message;
            looksRefused = LooksRefused(e);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            reason = "stopping";
        }

        await stop.CancelAsync();
        return (reason, server, await renewal, looksRefused);
    }

    // Whether a failed connection may come of our certificate: a cloud that cuts the handshake gives no reason, one that answers does.
    private static bool LooksRefused(LinkException failure)
    {
        for (Exception? e = failure; e is not null; e = e.InnerException)
        {
            if (e is AuthenticationException or HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError or HttpRequestError.ResponseEnded }
                or HttpIOException { HttpRequestError: HttpRequestError.ResponseEnded } or SocketException { SocketErrorCode: SocketError.ConnectionReset or SocketError.Shutdown })
                return true;
        }

        return failure.Message.Contains("refused the connection with 401", StringComparison.Ordinal)
            || failure.Message.Contains("refused the connection with 403", StringComparison.Ordinal);
    }

    // Waits for the time of renewal and renews while the session goes on; then ends it, once what is under way is answered, so that it is made
    // anew with the new certificate. Null when stopped first.
    private async Task<Credentials?> RenewAsync(Credentials credentials, CancellationTokenSource stop)
    {
        double share;
        lock (_random)
            share = _random.NextDouble();
        var at = NodeIdentity.RenewalTime(credentials.Certificate, share);
        var backoff = new Backoff(_random, TimeSpan.FromSeconds(2), s_backoffMax);
        try
        {
            while (true)
            {
                // In steps: one timer holds at most 49 days, and the clock may be set meanwhile.
                var left = at - _time.GetUtcNow();
                if (left > TimeSpan.Zero)
                {
                    await Task.Delay(left < TimeSpan.FromHours(1) ? left : TimeSpan.FromHours(1), _time, stop.Token);
                    continue;
                }

                try
                {
                    if (await RenewOrEnrolAsync(credentials, stop.Token) is { } renewed)
                    {
                        await BeginRotationAsync(stop.Token);
                        await stop.CancelAsync();
                        return renewed;
                    }

                    // Without a token there is nothing to try soon.
                    await Task.Delay(s_askAgain, _time, stop.Token);
                }
                catch (Exception e) when (e is EnrolmentException or CryptographicException or IOException or UnauthorizedAccessException)
                {
                    var delay = backoff.Next();
                    HubLog.RenewFailed(_log, _options.EdgeHub.HttpServer, e.Message, (long)delay.TotalMilliseconds);
                    await Task.Delay(delay, _time, stop.Token);
                }
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    // New requests wait from here on for the next session, and what was asked gets its answer.
    private async Task BeginRotationAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
            _rotation ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            await _pending.Drained.WaitAsync(s_drainMax, _time, cancellationToken);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // What is still open is asked again in the next session. A session that ended by itself is no reason to lose the new certificate.
        }
    }

    private void EndRotation()
    {
        lock (_gate)
        {
            _rotation?.TrySetResult();
            _rotation = null;
        }
    }

    private async Task<Message> RequestAsync(Message request, TimeSpan timeout, bool acknowledge, CancellationToken cancellationToken)
    {
        var began = _time.GetTimestamp();
        while (true)
        {
            var left = timeout - _time.GetElapsedTime(began);
            Task? rotation;
            lock (_gate)
                rotation = _rotation?.Task;
            try
            {
                if (rotation is not null)
                    await rotation.WaitAsync(left > TimeSpan.Zero ? left : TimeSpan.Zero, _time, cancellationToken);
            }
            catch (TimeoutException)
            {
                throw NoAnswer(request, timeout);
            }

            if (await TryRequestAsync(request, timeout, timeout - _time.GetElapsedTime(began), acknowledge, cancellationToken) is { } answer)
                return answer;
        }
    }

    private static UplinkException NoAnswer(Message request, TimeSpan timeout)
        => new($"{request.Operation} {request.Resource}: no answer within {timeout.TotalSeconds:0.#} s");

    // Null when the session ended for a rotation: the request, which the cloud takes twice without harm, is then made again.
    private async Task<Message?> TryRequestAsync(Message request, TimeSpan timeout, TimeSpan left, bool acknowledge, CancellationToken cancellationToken)
    {
        var connection = _connection ?? throw new UplinkException($"{request.Operation} {request.Resource}: not connected to the cloud");
        var answer = _pending.Add(request.Id, _queue.NextSequence(), acknowledge);
        try
        {
            await connection.Link.SendAsync(request, cancellationToken);
            return await answer.WaitAsync(left > TimeSpan.Zero ? left : TimeSpan.Zero, _time, cancellationToken);
        }
        catch (Exception e) when (e is LinkException or UplinkException && IsRotating())
        {
            return null;
        }
        catch (LinkException e)
        {
            throw new UplinkException($"{request.Operation} {request.Resource}: {e.Message}");
        }
        catch (TimeoutException)
        {
            throw NoAnswer(request, timeout);
        }
        finally
        {
            _pending.Remove(request.Id);
        }
    }

    private bool IsRotating()
    {
        lock (_gate)
            return _rotation is not null;
    }

    private void SetConnected(Connection connection, string server)
    {
        lock (_gate)
        {
            _connection = connection;
            _generation++;
            _connected.TrySetResult();
            _connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        EndRotation();
        HubLog.Connected(_log, server, _options.NodeName);
        LinkChanged?.Invoke(true);
    }

    private void SetDisconnected(string reason)
    {
        bool wasConnected;
        lock (_gate)
        {
            wasConnected = _connection is not null;
            _connection = null;
        }

        _pending.FailAll($"the link to the cloud went down: {reason}");
        if (wasConnected)
            LinkChanged?.Invoke(false);
    }

    private static string Text(Credentials credentials) => credentials.Certificate.NotAfter.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private sealed record Connection(ILink Link, HubSession Session);
}
