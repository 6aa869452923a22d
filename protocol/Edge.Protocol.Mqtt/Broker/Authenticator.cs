using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Edge.Protocol.Mqtt.Authentication;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

internal enum Verdict
{
    Yes,

    /// <summary>There is no user name, and it needs one.</summary>
    Anonymous,
    No,
}

/// <summary>Who a client is. A password takes tens of milliseconds to check, so that is done beside the broker's lock, few at once; one that was right is remembered as a keyed hash, so that
/// thousands of clients that come back together do not each take that time.</summary>
internal sealed class Authenticator(MqttBrokerOptions options) : IDisposable
{
    private const int RememberedMax = 10_000;

    private readonly Dictionary<string, string> _users = options.Users.ToDictionary(user => user.Name, user => user.PasswordHash, StringComparer.Ordinal);
    private readonly Dictionary<string, ScramSecret> _secrets = ScramUsers(options.Users);
    private readonly ConcurrentDictionary<string, byte[]> _remembered = new(StringComparer.Ordinal);
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly SemaphoreSlim _atOnce = new(Math.Max(1, Environment.ProcessorCount / 2));

    // A user that does not exist takes as long as one that does.
    private readonly string _nobody = MqttPassword.Hash("nobody", 210_000);

    /// <summary>Whether some user can prove who it is with SCRAM-SHA-256.</summary>
    public bool HasScram => _secrets.Count > 0;

    /// <summary>A new exchange.</summary>
    public ScramServer NewScram() => new(_secrets.GetValueOrDefault, name => HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(name))[..16], Scram.Nonce());

    /// <summary>Decides what needs no work; null: ask <see cref="VerifyAsync"/>.</summary>
    public Verdict? TryQuick(MqttConnect connect, string? certificateUser, out string? user)
    {
        user = certificateUser ?? connect.UserName;
        if (certificateUser is not null)
            return Verdict.Yes;
        if (connect.UserName is null)
            return options.AllowAnonymous ? Verdict.Yes : Verdict.Anonymous;
        if (connect.Password is not { } password)
            return Verdict.No;
        return _remembered.TryGetValue(connect.UserName, out var known) && CryptographicOperations.FixedTimeEquals(known, Keyed(password.Span)) ? Verdict.Yes : null;
    }

    public async Task<bool> VerifyAsync(MqttConnect connect)
    {
        await _atOnce.WaitAsync();
        try
        {
            return await Task.Run(() => Verify(connect.UserName!, connect.Password!.Value));
        }
        finally
        {
            _atOnce.Release();
        }
    }

    public void Dispose() => _atOnce.Dispose();

    private bool Verify(string user, ReadOnlyMemory<byte> password)
    {
        var isKnown = _users.TryGetValue(user, out var hash);
        if (!MqttPassword.Verify(hash ?? _nobody, password.Span) || !isKnown)
            return false;
        if (_remembered.Count < RememberedMax)
            _remembered[user] = Keyed(password.Span);
        return true;
    }

    private static Dictionary<string, ScramSecret> ScramUsers(IReadOnlyList<MqttUser> users)
    {
        var secrets = new Dictionary<string, ScramSecret>(StringComparer.Ordinal);
        foreach (var user in users)
        {
            if (MqttScramHash.TryParse(user.PasswordHash, out var secret))
                secrets[user.Name.Normalize(NormalizationForm.FormKC)] = secret;
        }

        return secrets;
    }

    private byte[] Keyed(ReadOnlySpan<byte> password) => HMACSHA256.HashData(_key, password);
}
