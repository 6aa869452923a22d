using System.Net.Security;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Edge.Cloud.CloudHub;

/// <summary>Lets OpenSSL give back its record buffers whenever a connection is idle (SSL_MODE_RELEASE_BUFFERS, as nginx and HAProxy do). SslStream leaves the mode off, and each connection
/// then holds 34 KB of buffers, of which a quiet node touches 14 KB and a busy one all.</summary>
/// <remarks>SslStream does not offer the mode, so its handle is taken by reflection. Where that is not as expected (another runtime, another OpenSSL) nothing is done: it is memory that is
/// lost, not function. <see cref="IsAvailable"/> says so, and a test watches it.</remarks>
internal static partial class TlsBuffers
{
    // openssl/ssl.h
    private const int ControlMode = 33;
    private const int ModeReleaseBuffers = 0x10;

    private static readonly FieldInfo? s_context = FindContext();

    /// <summary>True when <see cref="ReleaseWhenIdle"/> has an effect.</summary>
    public static bool IsAvailable => s_context is not null;

    /// <summary>Call after the handshake, before anything else uses the stream.</summary>
    public static void ReleaseWhenIdle(SslStream stream)
    {
        if (s_context?.GetValue(stream) is not SafeHandle { IsInvalid: false, IsClosed: false } handle || handle.GetType().Name != "SafeSslHandle")
            return;
        var taken = false;
        try
        {
            handle.DangerousAddRef(ref taken);
            SslControl(handle.DangerousGetHandle(), ControlMode, ModeReleaseBuffers, 0);
        }
        finally
        {
            if (taken)
                handle.DangerousRelease();
        }
    }

    private static FieldInfo? FindContext()
    {
        // The handle belongs to the OpenSSL that .NET loaded; only when that is version 3 is libssl.so.3 the same library.
        if (!OperatingSystem.IsLinux() || SafeEvpPKeyHandle.OpenSslVersion >> 28 != 3 || !NativeLibrary.TryLoad("libssl.so.3", out var library) || !NativeLibrary.TryGetExport(library, "SSL_ctrl", out _))
            return null;
        return typeof(SslStream).GetField("_securityContext", BindingFlags.Instance | BindingFlags.NonPublic);
    }

    [LibraryImport("libssl.so.3", EntryPoint = "SSL_ctrl")]
    private static partial long SslControl(nint ssl, int command, long argument, nint pointer);
}
