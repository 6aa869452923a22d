using System.Runtime.InteropServices;
using SQLitePCL;

namespace Edge.Common.Storage;

/// <summary>Chooses the native SQLite once a process: the system's libsqlite3.so.0 (security-patched), else the bundled e_sqlite3.</summary>
internal static class SqliteNative
{
    private static readonly Lazy<string> s_loaded = new(Load);

    /// <summary>Loads the library on first use; returns which one serves.</summary>
    public static string EnsureLoaded() => s_loaded.Value;

    private static string Load()
    {
        var which = "bundled e_sqlite3";
        if (NativeLibrary.TryLoad("libsqlite3.so.0", out var system))
        {
            which = "system libsqlite3.so.0";
            NativeLibrary.SetDllImportResolver(typeof(SQLite3Provider_e_sqlite3).Assembly, (name, _, _) => name == "e_sqlite3" ? system : IntPtr.Zero);
        }

        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        return which;
    }
}
