using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The identity of this cloudcore as it is now: the CAs it trusts and issues from, and what its listeners present. It follows the
/// Secret <c>casecret</c>: a rollover or the end of a former CA takes effect for new connections, without a restart.</summary>
/// <remarks>All properties and <see cref="Refuse"/> are safe for concurrent calls; read a property once for each use, it may change.</remarks>
internal sealed class HubCertificates : IAsyncDisposable
{
    private static readonly TimeSpan s_retryFirst = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_retryMost = TimeSpan.FromMinutes(1);

    // A net below the watch that pokes.
    private static readonly TimeSpan s_poll = TimeSpan.FromMinutes(10);

    // Strangers make at most so many reads of the API, and wait for it no longer than this.
    private static readonly TimeSpan s_lookAgain = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lookMax = TimeSpan.FromSeconds(5);

    /// <summary>What a client is told about whom nothing final can be said.</summary>
    public const string NotKnown = "the client certificate is of a CA that is not known here yet, and the Kubernetes API does not answer; try again";

    private readonly CertificateStore _store;
    private readonly bool _isFromFiles;
    private readonly IReadOnlyCollection<string> _hosts;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private readonly Channel<bool> _pokes = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }); // a flag, not a queue
    private readonly SemaphoreSlim _loading = new(1, 1);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private volatile Identity _identity;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _acceptedByFormer;
    private Task _following = Task.CompletedTask;
    private Task<bool>? _nextLook; // has not begun to read
    private Task<bool> _lastLook = Task.FromResult(true);
    private long? _lookedAt;

    private HubCertificates(
        CertificateStore store, bool isFromFiles, IReadOnlyCollection<string> hosts, Identity identity, TimeProvider time, Random random, ILogger logger)
    {
        _store = store;
        _isFromFiles = isFromFiles;
        _hosts = hosts;
        _identity = identity;
        _time = time;
        _random = random;
        _logger = logger;
    }

    /// <summary>The CAs; those of before stay usable for who still holds them.</summary>
    public AuthoritySet Authorities => _identity.Authorities;

    /// <summary>The serving certificate with its chain, for <see cref="SslServerAuthenticationOptions.ServerCertificateContext"/>. After a rollover
    /// the chain leads to the former CA too, for nodes that know only that one.</summary>
    public SslStreamCertificateContext ServerContext => _identity.Tls.ServerCertificateContext!;

    /// <summary>How a listener takes a connection now. A client's certificate is asked for; the caller judges it with <see cref="Refuse"/> when it reads the request, so that a client that is
    /// refused, or has none, is told why.</summary>
    public SslServerAuthenticationOptions TlsOptions() => _identity.Tls;

    /// <summary>Clients that were accepted with a certificate of a former CA, since the start: while it grows, that CA is still needed.</summary>
    public long AcceptedByFormer => Interlocked.Read(ref _acceptedByFormer);

    /// <summary>Ends at the next change of the CAs.</summary>
    public Task Changed
    {
        get
        {
            lock (_gate)
                return _changed.Task;
        }
    }

    /// <summary>Loads or makes CA and serving certificate, and follows them from then on.</summary>
    /// <exception cref="CloudCoreException">The stored CA cannot be read.</exception>
    /// <exception cref="KubeException">The API does not answer or refuses.</exception>
    public static async Task<HubCertificates> StartAsync(
        CertificateStore store, string certificateFile, string keyFile, IReadOnlyCollection<string> hosts, TimeProvider time, Random random, ILogger logger,
        CancellationToken cancellationToken)
    {
        var authorities = await store.LoadAuthoritiesAsync(certificateFile, keyFile, cancellationToken);
        var server = await store.LoadServerAsync(authorities, hosts, cancellationToken);
        var made = new HubCertificates(
            store, CertificateStore.IsFromFiles(certificateFile, keyFile), hosts, new Identity(authorities, server), time, random, logger);
        // The CA in files follows nothing: a file is replaced together with a restart.
        if (!made._isFromFiles)
            made._following = made.FollowAsync(made._stop.Token);
        return made;
    }

    /// <summary>Null when <paramref name="client"/> was issued by a CA of this cloud, is in its lifetime and may identify a client; else the reason.</summary>
    public string? Refuse(X509Certificate2 client)
    {
        var reason = _identity.Authorities.Refuse(client, _time.GetUtcNow(), out var byFormer);
        if (reason is null && byFormer)
            Interlocked.Increment(ref _acceptedByFormer);
        return reason;
    }

    /// <summary>As <see cref="Refuse"/>, after a look at the Secret where no CA known here issued the certificate: another CloudCore may have taken up a rollover that the watch has not shown here yet.</summary>
    /// <returns>The reason, or null when the client is accepted; and whether that is final. It is not where the API does not answer: such a client is to try again, not to give up its certificate.</returns>
    public async ValueTask<(string? Reason, bool IsFinal)> JudgeAsync(X509Certificate2 client, CancellationToken cancellationToken)
    {
        var reason = Refuse(client);
        if (reason != AuthoritySet.UnknownIssuer)
            return (reason, true);
        var isFinal = await LearnAsync(client, cancellationToken);
        return (Refuse(client), isFinal);
    }

    /// <summary>Reads the Secret where no CA known here issued the certificate. All who ask meanwhile share one read, and there is at most one a second.</summary>
    /// <returns>False when the issuer is not known and the Secret cannot be read within 5 s.</returns>
    public async ValueTask<bool> LearnAsync(X509Certificate2 client, CancellationToken cancellationToken)
    {
        bool IsKnown() => Authorities.Refuse(client, _time.GetUtcNow(), out _) != AuthoritySet.UnknownIssuer;
        if (_isFromFiles || IsKnown())
            return true;
        Task<bool> look;
        lock (_gate)
            look = _nextLook ??= _lastLook = LookAsync(_lastLook);
        try
        {
            return await look.WaitAsync(s_lookMax, _time, cancellationToken) || IsKnown();
        }
        catch (TimeoutException)
        {
            return IsKnown();
        }
    }

    /// <summary>The Secret may have changed: it is read again soon.</summary>
    public void Poke() => _pokes.Writer.TryWrite(true);

    /// <summary>Reads the Secret again and takes over what changed.</summary>
    /// <exception cref="CloudCoreException">The stored CA cannot be read; what was in force stays.</exception>
    /// <exception cref="KubeException">The API does not answer or refuses; what was in force stays.</exception>
    public async Task ReloadAsync(CancellationToken cancellationToken)
    {
        if (_isFromFiles)
            return;
        await _loading.WaitAsync(cancellationToken);
        try
        {
            var read = await _store.TryReadAuthoritiesAsync(cancellationToken);
            if (read is not { Authorities: var authorities })
                throw new CloudCoreException($"the Secret {CertificateStore.Namespace}/{CertificateStore.AuthoritySecret} is gone; this cloudcore goes on with the CA it has, restore the Secret before it stops");
            if (authorities.Stamp == _identity.Authorities.Stamp)
            {
                authorities.Dispose();
                return;
            }

            var server = await _store.LoadServerAsync(authorities, _hosts, cancellationToken);
            // The former identity is left to the collector: handshakes and requests under way still use it.
            _identity = new Identity(authorities, server);
            CertificateLog.Changed(_logger, JoinToken.AuthorityId(authorities.Active.CertificateDer), authorities.Former.Count);
            TaskCompletionSource changed;
            lock (_gate)
            {
                changed = _changed;
                _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            changed.TrySetResult();
        }
        finally
        {
            _loading.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _following;
        Task look;
        lock (_gate)
            look = _lastLook;
        await look;
        _identity.Server.Dispose();
        _identity.Authorities.Dispose();
        _loading.Dispose();
        _stop.Dispose();
    }

    // Never fails; false when the Secret could not be read.
    private async Task<bool> LookAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding); // whoever made it holds the lock
        try
        {
            if (_lookedAt is { } last && s_lookAgain - _time.GetElapsedTime(last) is { Ticks: > 0 } pause)
                await Task.Delay(pause, _time, _stop.Token);
            lock (_gate)
                _nextLook = null;
            _lookedAt = _time.GetTimestamp();
            await ReloadAsync(_stop.Token);
            return true;
        }
        catch (Exception e) when (e is CloudCoreException or KubeException or CryptographicException)
        {
            CertificateLog.NotLearned(_logger, e.Message);
            return false;
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            return false;
        }
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        await using var poll = _time.CreateTimer(_ => Poke(), null, s_poll, s_poll);
        var failures = 0;
        try
        {
            while (await _pokes.Reader.WaitToReadAsync(cancellationToken))
            {
                _pokes.Reader.TryRead(out _);
                try
                {
                    await ReloadAsync(cancellationToken);
                    failures = 0;
                }
                catch (Exception e) when (e is CloudCoreException or KubeException or CryptographicException)
                {
                    TimeSpan pause;
                    lock (_random)
                        pause = Backoff.FullJitter(++failures, s_retryFirst, s_retryMost, _random);
                    CertificateLog.NotRead(_logger, e.Message, (long)pause.TotalMilliseconds);
                    await Task.Delay(pause, _time, cancellationToken);
                    Poke();
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private sealed class Identity(AuthoritySet authorities, X509Certificate2 server)
    {
        public AuthoritySet Authorities { get; } = authorities;

        public X509Certificate2 Server { get; } = server;

        // Offline: this machine's own store has nothing to add to the chain, and nothing may be fetched.
        public SslServerAuthenticationOptions Tls { get; } = new()
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(server, [.. authorities.Crossed], offline: true),
            ClientCertificateRequired = true,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            // Else SslStream looks for the client's chain in the machine's store, and may fetch what it does not find.
            CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
            },
#pragma warning disable CA5359 // judged when the request is read
            RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
        };
    }
}

/// <summary>What happens to CAs, tokens and the lease of singletons; ids 1400-1499.</summary>
internal static partial class CertificateLog
{
    [LoggerMessage(1400, LogLevel.Information, "the CA changed: {Active} issues, {Former} former trusted; new connections see it, the others go on")]
    public static partial void Changed(ILogger logger, string active, int former);

    [LoggerMessage(1401, LogLevel.Error, "the CA could not be read: {Error}; trying again in {DelayMs} ms")]
    public static partial void NotRead(ILogger logger, string error, long delayMs);

    [LoggerMessage(1402, LogLevel.Information, "removed {Count} expired join tokens")]
    public static partial void TokensRemoved(ILogger logger, int count);

    [LoggerMessage(1403, LogLevel.Warning, "expired join tokens could not be removed: {Error}; trying again in {Seconds} s")]
    public static partial void TokensNotRemoved(ILogger logger, string error, long seconds);

    [LoggerMessage(1404, LogLevel.Warning, "a client's certificate is of an unknown CA, and whether that is this cloud's could not be read: {Error}; the client is told to try again")]
    public static partial void NotLearned(ILogger logger, string error);
}
