using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Protocol.Mqtt.Authentication;

/// <summary>SCRAM-SHA-256 (RFC 5802, RFC 7677), as an authentication method of MQTT 5.0 (4.12). Without channel binding. Pure but for the hashes.</summary>
/// <remarks>Names and passwords are normalized to NFKC; of SASLprep (RFC 4013) that is what changes anything in practice, and ASCII stays as it is.</remarks>
internal static class Scram
{
    public const string Method = "SCRAM-SHA-256";

    /// <summary>Bytes that one message may have; names and nonces are short.</summary>
    public const int MessageMax = 4096;

    /// <summary>Iterations that a client works through for a server; more is a server that wants to keep it busy.</summary>
    public const int IterationsMax = 5_000_000;

    /// <summary>RFC 7677, 4: at least so many.</summary>
    public const int IterationsMin = 4096;

    public static byte[] Salted(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int iterations)
        => Rfc2898DeriveBytes.Pbkdf2(Normalize(password), salt, iterations, HashAlgorithmName.SHA256, SHA256.HashSizeInBytes);

    public static byte[] StoredKey(ReadOnlySpan<byte> salted) => SHA256.HashData(ClientKey(salted));

    public static byte[] ClientKey(ReadOnlySpan<byte> salted) => HMACSHA256.HashData(salted, "Client Key"u8);

    public static byte[] ServerKey(ReadOnlySpan<byte> salted) => HMACSHA256.HashData(salted, "Server Key"u8);

    public static byte[] Sign(ReadOnlySpan<byte> key, string authMessage) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(authMessage));

    public static byte[] Xor(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        var result = new byte[a.Length];
        for (var i = 0; i < result.Length; i++)
            result[i] = (byte)(a[i] ^ b[i]);
        return result;
    }

    /// <summary>"=" and "," of a name (RFC 5802, 5.1, saslname).</summary>
    public static string Escape(string name) => name.Replace("=", "=3D", StringComparison.Ordinal).Replace(",", "=2C", StringComparison.Ordinal);

    /// <returns>Null: there is an "=" that begins neither.</returns>
    public static string? Unescape(string name)
    {
        var plain = name.Replace("=2C", ",", StringComparison.Ordinal).Replace("=3D", "\0", StringComparison.Ordinal);
        return plain.Contains('=', StringComparison.Ordinal) || name.Contains('\0', StringComparison.Ordinal) ? null : plain.Replace('\0', '=');
    }

    /// <summary>The value of attribute <paramref name="name"/> at this place of a message.</summary>
    public static bool TryPart(string[] parts, int index, char name, out string value)
    {
        var isThere = index < parts.Length && parts[index].Length >= 2 && parts[index][0] == name && parts[index][1] == '=';
        value = isThere ? parts[index][2..] : "";
        return isThere;
    }

    public static bool TryBase64(string text, out byte[] bytes)
    {
        bytes = new byte[text.Length];
        var isRight = Convert.TryFromBase64String(text, bytes, out var length);
        bytes = bytes[..length];
        return isRight;
    }

    /// <summary>A nonce: printable, without ",".</summary>
    public static string Nonce() => Convert.ToBase64String(RandomNumberGenerator.GetBytes(18));

    /// <summary>A message as text; null where it is too long or no UTF-8.</summary>
    public static string? Text(ReadOnlySpan<byte> message)
    {
        if (message.Length > MessageMax)
            return null;
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(message);
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    public static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static byte[] Normalize(ReadOnlySpan<byte> password)
    {
        // What is no UTF-8 is taken as it is.
        return Text(password) is { } text ? Encoding.UTF8.GetBytes(text.Normalize(NormalizationForm.FormKC)) : password.ToArray();
    }
}

/// <summary>What a server knows of a user; no password can be had from it but by trying.</summary>
internal sealed record ScramSecret(int Iterations, byte[] Salt, byte[] StoredKey, byte[] ServerKey);

/// <summary>The server's side of one exchange.</summary>
/// <param name="find">A user's secret; null where there is none. The exchange then goes on and fails at its end, so that nobody learns which users there are.</param>
/// <param name="invent">A salt for who does not exist, always the same for the same name.</param>
/// <param name="nonce">The server's part of the nonce.</param>
internal sealed class ScramServer(Func<string, ScramSecret?> find, Func<string, byte[]> invent, string nonce)
{
    private string _clientFirst = "";
    private string _serverFirst = "";
    private string _binding = "";
    private string _nonce = "";
    private ScramSecret? _secret;

    /// <summary>The user's name, once the first message came.</summary>
    public string User { get; private set; } = "";

    /// <summary>It came to its end, and the client is who it says.</summary>
    public bool IsDone { get; private set; }

    /// <summary>The answer to the client's message; null where the exchange fails, for <paramref name="problem"/>.</summary>
    public byte[]? Step(ReadOnlySpan<byte> message, out string problem)
    {
        problem = "a message is too long or no UTF-8";
        var answer = Scram.Text(message) is not { } text ? null : _serverFirst.Length == 0 ? First(text, out problem) : Final(text, out problem);
        return answer is null ? null : Encoding.UTF8.GetBytes(answer);
    }

    // gs2-header client-first-message-bare (RFC 5802, 7).
    private string? First(string text, out string problem)
    {
        problem = "";
        var parts = text.Split(',');
        if (parts.Length < 4 || parts[0] is not ("n" or "y"))
            return Fail(text.StartsWith("p=", StringComparison.Ordinal) ? "channel binding is not done here" : "the first message does not begin with a gs2 header", out problem);
        if (parts[1].Length > 0)
            return Fail("an authorization identity is not taken here", out problem);
        if (!Scram.TryPart(parts, 2, 'n', out var name) || Scram.Unescape(name) is not { Length: > 0 } user || !Scram.TryPart(parts, 3, 'r', out var theirs) || theirs.Length == 0)
            return Fail("the first message has no user name or no nonce where they belong", out problem);
        User = user.Normalize(NormalizationForm.FormKC);
        _binding = $"{parts[0]},{parts[1]},";
        _clientFirst = text[_binding.Length..];
        _nonce = theirs + nonce;
        _secret = find(User);
        var secret = _secret ?? new ScramSecret(MqttScramHash.IterationsDefault, invent(User), [], []);
        return _serverFirst = $"r={_nonce},s={Convert.ToBase64String(secret.Salt)},i={Scram.Number(secret.Iterations)}";
    }

    private string? Final(string text, out string problem)
    {
        problem = "";
        var parts = text.Split(',');
        if (IsDone || !Scram.TryPart(parts, 0, 'c', out var binding) || !Scram.TryPart(parts, 1, 'r', out var both) || !Scram.TryPart(parts, parts.Length - 1, 'p', out var proof)
            || !Scram.TryBase64(binding, out var header) || !Scram.TryBase64(proof, out var claimed) || claimed.Length != SHA256.HashSizeInBytes)
        {
            return Fail("the last message has no channel binding, nonce or proof where they belong", out problem);
        }

        if (both != _nonce || !header.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes(_binding)))
            return Fail("the last message is not of this exchange", out problem);
        var authMessage = $"{_clientFirst},{_serverFirst},{text[..text.LastIndexOf(",p=", StringComparison.Ordinal)]}";
        if (_secret is null || !CryptographicOperations.FixedTimeEquals(SHA256.HashData(Scram.Xor(claimed, Scram.Sign(_secret.StoredKey, authMessage))), _secret.StoredKey))
            return Fail("the user name or password is wrong", out problem);
        IsDone = true;
        return $"v={Convert.ToBase64String(Scram.Sign(_secret.ServerKey, authMessage))}";
    }

    private static string? Fail(string reason, out string problem)
    {
        problem = reason;
        return null;
    }
}

/// <summary>The client's side of one exchange.</summary>
/// <param name="nonce">The client's part of the nonce.</param>
internal sealed class ScramClient(string user, ReadOnlyMemory<byte> password, string nonce)
{
    private readonly string _bare = $"n={Scram.Escape(user.Normalize(NormalizationForm.FormKC))},r={nonce}";
    private byte[]? _serverSignature;

    public byte[] First() => Encoding.UTF8.GetBytes("n,," + _bare);

    /// <summary>The answer to the server's first message; null where it is none, for <paramref name="problem"/>. Takes tens of milliseconds of processor, as the server asks.</summary>
    public byte[]? Final(ReadOnlySpan<byte> message, out string problem)
    {
        var text = Scram.Text(message) ?? "";
        var parts = text.Split(',');
        problem = "the server's first SCRAM message has no nonce, salt or number of iterations that can be used";
        if (!Scram.TryPart(parts, 0, 'r', out var both) || !Scram.TryPart(parts, 1, 's', out var salt64) || !Scram.TryPart(parts, 2, 'i', out var count)
            || !both.StartsWith(nonce, StringComparison.Ordinal) || both.Length == nonce.Length || !Scram.TryBase64(salt64, out var salt) || salt.Length == 0
            || !int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var iterations) || iterations is < Scram.IterationsMin or > Scram.IterationsMax)
        {
            return null;
        }

        problem = "";
        var salted = Scram.Salted(password.Span, salt, iterations);
        var withoutProof = $"c=biws,r={both}";
        var authMessage = $"{_bare},{text},{withoutProof}";
        var clientKey = Scram.ClientKey(salted);
        _serverSignature = Scram.Sign(Scram.ServerKey(salted), authMessage);
        return Encoding.UTF8.GetBytes($"{withoutProof},p={Convert.ToBase64String(Scram.Xor(clientKey, Scram.Sign(SHA256.HashData(clientKey), authMessage)))}");
    }

    /// <summary>Whether the server's last message shows that it knows the user's secret too.</summary>
    public bool IsServer(ReadOnlySpan<byte> message)
        => _serverSignature is not null && Scram.Text(message) is { } text && Scram.TryPart(text.Split(','), 0, 'v', out var signature) && Scram.TryBase64(signature, out var claimed)
            && CryptographicOperations.FixedTimeEquals(claimed, _serverSignature);
}
