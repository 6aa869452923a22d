using System.Security.Cryptography;

namespace Edge.Common.Security;

/// <summary>The text that lets a node join: <c>&lt;hex SHA-256 of the CA certificate's DER&gt;.&lt;JWT&gt;</c> (kubeedge-wire §2.7).</summary>
/// <param name="CaHash">64 lower-case hex digits.</param>
/// <param name="Bearer">The JWT, sent as bearer credential. A secret: never logged.</param>
public sealed record JoinToken(string CaHash, string Bearer)
{
    private const int LengthMax = 8192;

    /// <summary>Reads a token; <paramref name="error"/> says what is wrong without repeating any of it.</summary>
    public static bool TryParse(string text, out JoinToken? token, out string error)
    {
        token = null;
        text = text.Trim();
        if (text.Length > LengthMax)
        {
            error = $"it has {text.Length} characters, the limit is {LengthMax}";
            return false;
        }

        var parts = text.Split('.');
        if (parts.Length != 4)
        {
            error = $"it has {parts.Length} part(s) between dots, must be 4 (the CA's hash and a JWT)";
            return false;
        }

        if (parts[0].Length != 64 || !parts[0].All(char.IsAsciiHexDigit))
        {
            error = "its first part is not a SHA-256 in 64 hex digits";
            return false;
        }

        if (parts.Skip(1).Any(part => part.Length == 0 || !part.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')))
        {
            error = "its last three parts are not a JWT (letters, digits, '-' and '_')";
            return false;
        }

        token = new JoinToken(parts[0].ToLowerInvariant(), string.Join('.', parts.Skip(1)));
        error = "";
        return true;
    }

    /// <summary>Whether this token is for the cloud with the given CA certificate.</summary>
    public bool IsFor(ReadOnlySpan<byte> caDer) => Convert.ToHexStringLower(SHA256.HashData(caDer)) == CaHash;

    /// <summary>Leaves the secret out.</summary>
    public override string ToString() => "JoinToken";
}
