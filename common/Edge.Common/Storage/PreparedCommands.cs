using System.Runtime.CompilerServices;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Edge.Common.Storage;

/// <summary>Commands that are parsed once a connection and used again: for a small row, making a command costs more than running it.</summary>
public static class PreparedCommands
{
    private static readonly ConditionalWeakTable<SqliteConnection, Dictionary<string, SqliteCommand>> s_commands = [];

    /// <summary>The connection's own command for this SQL; <paramref name="sql"/> must be a constant, since every different text is kept as long as the connection.</summary>
    /// <param name="parameters">Names in the order of <see cref="With"/>.</param>
    /// <remarks>Only for who has the connection for himself, as <see cref="SqliteDatabase"/> gives it. Not to be disposed by the caller; a reader of it is, before the next use.</remarks>
    public static SqliteCommand Prepared(this SqliteConnection connection, string sql, params ReadOnlySpan<string> parameters)
    {
        var commands = s_commands.GetOrCreateValue(connection);
        if (commands.TryGetValue(sql, out var command))
            return command;
        command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var name in parameters)
            command.Parameters.Add(new SqliteParameter { ParameterName = name });
        commands.Add(sql, command);
        return command;
    }

    /// <summary>The row id that the last INSERT on this connection gave, as <c>last_insert_rowid()</c> without a statement of its own.</summary>
    public static long LastInsertRowId(this SqliteConnection connection) => raw.sqlite3_last_insert_rowid(connection.Handle!);

    /// <summary>Sets the values of all parameters, in order.</summary>
    public static SqliteCommand With(this SqliteCommand command, params ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++)
            command.Parameters[i].Value = values[i];
        return command;
    }
}
